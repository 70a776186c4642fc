// The pictures a person has chosen: sent at once, a few at a time, each with its own fate.
//
// state: waiting -> sending -> there | rejected, and back to waiting when the server was away.
import { computed, markRaw, reactive } from "vue";
import { whenBack } from "./connection.js";
import { DOORS, problemOf, Unreachable } from "./rest.js";

const AT_ONCE = 4;
const BUSY = new Set([429, 503]);
const BUSY_SECONDS = 2;
const KEEP_MS = 500;
const KEPT = "captionfleet.draft";

export class Tray {
  constructor() {
    this.items = reactive([]);
    this.known = new Set();
    this.sending = 0;
    this.next = 0;
    this.tally = computed(() => tally(this.items));
    this.stopBack = whenBack(() => this.#pump());
    this.leaving = () => this.keeping && this.#keepNow();
    window.addEventListener("pagehide", this.leaving);
    this.#restore();
  }

  close() {
    this.stopBack();
    window.removeEventListener("pagehide", this.leaving);
    for (const item of this.items) if (item.file) URL.revokeObjectURL(item.thumbnail);
  }

  /** Add files [{file, name}]; returns how many were there already. */
  add(files) {
    let again = 0;
    const fresh = [];
    for (const { file, name } of files) {
      const mark = `${name}|${file.size}|${file.lastModified}`;
      if (this.known.has(mark)) again += 1;
      else fresh.push(this.#item({ file: markRaw(file), name, mark, thumbnail: URL.createObjectURL(file) }));
      this.known.add(mark);
    }
    this.items.push(...fresh);
    this.#pump();
    return again;
  }

  remove(item) {
    item.request?.abort();
    this.known.delete(item.mark);
    if (item.file) URL.revokeObjectURL(item.thumbnail);
    this.items.splice(this.items.indexOf(item), 1);
    this.#findTwins();
    this.#keep();
  }

  clear() {
    for (const item of [...this.items]) this.remove(item);
  }

  retry(item) {
    Object.assign(item, { state: "waiting", message: "" });
    this.#pump();
  }

  /** What a job takes: [{id, filename}]. */
  images() {
    const usable = this.items.filter((item) => item.state === "there" && item.twin !== "same");
    return usable.map((item) => ({ id: item.image, filename: item.name }));
  }

  forgetDraft() {
    clearTimeout(this.keeping);
    this.keeping = 0;
    sessionStorage.removeItem(KEPT);
  }

  #item(given) {
    this.next += 1;
    return {
      key: this.next, file: null, image: "", state: "waiting", progress: 0, message: "", twin: "",
      request: null, ...given,
    };
  }

  #pump() {
    for (const item of this.items) {
      if (this.sending >= AT_ONCE) return;
      if (item.state === "waiting" && !item.pause) this.#send(item);
    }
  }

  async #send(item) {
    this.sending += 1;
    Object.assign(item, { state: "sending", progress: 0 });
    try {
      const { id } = await upload(item);
      Object.assign(item, { state: "there", image: id, progress: 1 });
      this.#findTwins();
      this.#keep();
    } catch (error) {
      this.#failed(item, error);
    }
    item.request = null;
    this.sending -= 1;
    if (!(item.state === "waiting" && item.away)) this.#pump();
  }

  #failed(item, error) {
    item.away = error instanceof Unreachable;
    if (item.away) {
      item.state = "waiting"; // whenBack() sends it again
    } else if (BUSY.has(error.status)) {
      Object.assign(item, { state: "waiting", pause: true });
      const seconds = error.retryAfter || BUSY_SECONDS;
      setTimeout(() => {
        item.pause = false;
        this.#pump();
      }, seconds * 1000);
    } else {
      Object.assign(item, { state: "rejected", message: error.message });
    }
  }

  /** Equal bytes under the same name count once; under another name they are said to be equal. */
  #findTwins() {
    const first = new Map();
    for (const item of this.items) {
      if (item.state !== "there") continue;
      const before = first.get(item.image);
      if (!before) first.set(item.image, item);
      item.twin = !before ? "" : before.name === item.name ? "same" : before.name;
    }
  }

  /** So that a reload keeps what the server has already. */
  #keep() {
    this.keeping ||= setTimeout(() => this.#keepNow(), KEEP_MS);
  }

  #keepNow() {
    clearTimeout(this.keeping);
    this.keeping = 0;
    const there = this.items.filter((item) => item.state === "there");
    sessionStorage.setItem(KEPT, JSON.stringify(there.map(({ image, name }) => ({ image, name }))));
  }

  #restore() {
    let kept = [];
    try {
      kept = JSON.parse(sessionStorage.getItem(KEPT)) || [];
    } catch {
      this.forgetDraft();
    }
    const items = kept.map(({ image, name }) =>
      this.#item({ image, name, state: "there", progress: 1, thumbnail: `${DOORS}/images/${image}/thumbnail` }));
    this.items.push(...items);
    this.#findTwins();
  }
}

/** How many are in which state. Pure. */
export function tally(items) {
  const count = { all: items.length, usable: 0, moving: 0, rejected: 0, twins: 0 };
  for (const item of items) {
    if (item.state === "rejected") count.rejected += 1;
    else if (item.state !== "there") count.moving += 1;
    else if (item.twin === "same") count.twins += 1;
    else count.usable += 1;
  }
  return count;
}

function upload(item) {
  return new Promise((resolve, reject) => {
    const request = (item.request = markRaw(new XMLHttpRequest()));
    request.open("POST", `${DOORS}/images?filename=${encodeURIComponent(item.name)}`);
    request.setRequestHeader("content-type", item.file.type || "application/octet-stream");
    request.setRequestHeader("accept", "application/json");
    request.upload.onprogress = ({ loaded, total }) => (item.progress = loaded / (total || 1));
    request.onload = () => {
      const { status, responseText } = request;
      if (status >= 200 && status < 300) resolve(JSON.parse(responseText));
      else reject(problemOf(status, responseText, request.getResponseHeader("retry-after")));
    };
    request.onerror = () => reject(problemOf(502, "", null));
    request.send(item.file);
  });
}
