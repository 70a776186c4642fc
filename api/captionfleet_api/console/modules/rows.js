// The rows of a job's grid that this page holds: fetched by the page as they come into view.
//
// Without a search a row's place is its position in the job, so any part can be fetched at once.
// With a search the server alone knows the matches: they come one page after another.
import { shallowReactive } from "vue";
import { get } from "./rest.js";

const PAGE = 50;
const MOST_PAGES = 40;
const OPEN = new Set(["pending", "queued", "running"]);

export class Rows {
  constructor(job, onError) {
    this.path = `/jobs/${encodeURIComponent(job)}/grid`;
    this.onError = onError;
    this.state = shallowReactive({ total: 0, version: 0, loading: false, complete: true, q: "" });
    this.#clear();
  }

  #clear() {
    this.rows = new Map(); // index -> {position, image, cells}
    this.places = new Map(); // task id -> [index, column]
    this.pages = new Map(); // page -> loading | there | stale | failed, least recently wanted first
    this.recent = new Map(); // task id -> shape, of events that came while a page was on its way
    this.next = null; // cursor of the next page of matches
    this.run = (this.run || 0) + 1; // answers to an earlier search are dropped
  }

  at(index) {
    return this.rows.get(index);
  }

  get searching() {
    return this.state.q !== "";
  }

  resize(images) {
    if (!this.searching) this.state.total = images;
  }

  /** Show only rows where `q` occurs; "" shows all `images` rows again. */
  search(q, images) {
    this.#clear();
    Object.assign(this.state, { q, total: q ? 0 : images, complete: !q, version: this.state.version + 1 });
    if (q) this.#fetch(0);
  }

  /** Rows first..last are in view: see that they are there. */
  want(first, last) {
    if (this.searching) {
      const loaded = this.rows.size;
      const failed = this.pages.get(loaded / PAGE) === "failed";
      if (!this.state.complete && !failed && last >= loaded - 10) this.#fetch(loaded / PAGE);
      for (let page = Math.floor(first / PAGE); page * PAGE <= Math.min(last, loaded - 1); page += 1) {
        if (this.pages.get(page) === "stale") return this.reload();
      }
      return;
    }
    for (let page = Math.floor(first / PAGE); page * PAGE <= Math.min(last, this.state.total - 1); page += 1) {
      const known = this.pages.get(page);
      if (known === undefined || known === "stale") this.#fetch(page);
      else if (known === "there") this.#touch(page);
    }
  }

  /** Everything may have changed: what is in view is fetched again by the next want(). */
  expire() {
    for (const page of this.pages.keys()) this.pages.set(page, "stale");
    this.state.version += 1;
  }

  /** Fetch what is in view once more, for the numbers that no event tells. */
  async lookAgain(first, last) {
    for (let page = Math.floor(first / PAGE); page * PAGE <= last; page += 1) {
      if (this.pages.get(page) === "there" && this.#hasOpenCells(page)) await this.#fetch(page);
    }
  }

  #hasOpenCells(page) {
    for (let index = page * PAGE; index < (page + 1) * PAGE; index += 1) {
      const cells = Object.values(this.rows.get(index)?.cells || {});
      if (cells.some((task) => OPEN.has(task.state))) return true;
    }
    return false;
  }

  reload() {
    this.search(this.state.q, this.state.total);
  }

  /** A task changed. True if it is on a row that is held here. */
  apply(task) {
    if (this.state.loading) this.recent.set(task.id, task);
    const place = this.places.get(task.id);
    if (!place) return false;
    const [index, column] = place;
    const row = this.rows.get(index);
    // A new object per row and per cell: only the cells that changed are drawn again.
    this.rows.set(index, { ...row, cells: { ...row.cells, [column]: task } });
    return true;
  }

  async #fetch(page) {
    if (this.pages.get(page) === "loading") return;
    const run = this.run;
    this.pages.set(page, "loading");
    this.state.loading = true;
    try {
      const answer = await get(this.path + this.#query(page));
      if (run === this.run) this.#take(page, answer);
    } catch (error) {
      // Not asked again before expire(), or a server that is away would be asked without end.
      if (run === this.run) this.pages.set(page, "failed");
      this.onError(error);
    }
    this.state.loading = [...this.pages.values()].includes("loading");
    if (!this.state.loading) this.recent.clear();
    this.state.version += 1;
  }

  #query(page) {
    if (!this.searching) return `?limit=${PAGE}&start=${page * PAGE}`;
    const cursor = page && this.next ? `&cursor=${encodeURIComponent(this.next)}` : "";
    return `?limit=${PAGE}&q=${encodeURIComponent(this.state.q)}${cursor}`;
  }

  #take(page, { items, next }) {
    items.forEach((row, offset) => {
      const index = page * PAGE + offset;
      this.rows.set(index, row);
      for (const [column, task] of Object.entries(row.cells)) this.places.set(task.id, [index, column]);
    });
    this.pages.set(page, "there");
    for (const task of this.recent.values()) this.apply(task);
    if (this.searching) {
      this.next = next;
      Object.assign(this.state, { total: page * PAGE + items.length, complete: !next });
    } else {
      this.#forgetFarPages();
    }
  }

  #touch(page) {
    this.pages.delete(page);
    this.pages.set(page, "there");
  }

  #forgetFarPages() {
    for (const [page, known] of this.pages) {
      if (this.pages.size <= MOST_PAGES) return;
      if (known === "loading") continue;
      this.pages.delete(page);
      for (let index = page * PAGE; index < (page + 1) * PAGE; index += 1) {
        for (const task of Object.values(this.rows.get(index)?.cells || {})) this.places.delete(task.id);
        this.rows.delete(index);
      }
    }
  }
}
