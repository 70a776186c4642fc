// The live events of one job. Keeps the last change number, so that nothing is missed in between.
import { makeSure, whenBack } from "./connection.js";
import { DOORS } from "./rest.js";

const RETRY_MS = 1000;
const LONGEST_RETRY_MS = 15000;
// A browser allows six connections per server: a hidden tab gives its own back after a while.
const HIDDEN_MS = 15000;

export class JobStream {
  /** `on`: {task, job} take the shapes of DESIGN; `gap` asks to read everything anew. */
  constructor(job, on) {
    this.address = `${DOORS}/jobs/${encodeURIComponent(job)}/events`;
    this.on = on;
    this.last = "";
    this.source = null;
    this.broken = false;
    this.wait = RETRY_MS;
    this.stopBack = whenBack(() => this.open());
    this.visibility = () => this.#visible();
    document.addEventListener("visibilitychange", this.visibility);
  }

  open() {
    if (this.source || this.closed) return;
    const resume = this.last ? `?last_event_id=${encodeURIComponent(this.last)}` : "";
    const source = (this.source = new EventSource(this.address + resume));
    source.onopen = () => {
      if (this.broken) this.on.gap();
      this.broken = false;
      this.wait = RETRY_MS;
    };
    source.onerror = () => this.#lost();
    for (const name of ["task", "job", "done"]) {
      source.addEventListener(name, (event) => this.#take(name, event));
    }
  }

  /** Begin anew after what this page did: events from before it would show the state from before it. */
  restart() {
    this.#drop();
    this.open();
  }

  close() {
    this.closed = true;
    this.stopBack();
    document.removeEventListener("visibilitychange", this.visibility);
    this.#drop();
  }

  #take(name, event) {
    this.last = event.lastEventId || this.last;
    const shape = JSON.parse(event.data);
    if (name === "task") this.on.task(shape);
    else this.on.job(shape);
    // A finished job's stream ends; what changes it later is done on this page or seen on return.
    if (name === "done") this.#drop();
  }

  #lost() {
    this.broken = true;
    this.#drop();
    makeSure();
    setTimeout(() => this.open(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_RETRY_MS);
  }

  #visible() {
    clearTimeout(this.resting);
    if (document.hidden) {
      this.resting = setTimeout(() => this.#rest(), HIDDEN_MS);
    } else if (!this.source) {
      this.open();
    }
  }

  #rest() {
    this.broken = true;
    this.#drop();
  }

  #drop() {
    this.source?.close();
    this.source = null;
  }
}
