// The pictures a person has chosen: sent at once, a few at a time, each with its own fate.
//
// state: waiting -> sending -> there | rejected, and back to waiting when the server was away.
import { markRaw, reactive } from "vue";
import { whenBack } from "./connection.js";
import { DOORS, problemOf, Unreachable } from "./rest.js";

const AT_ONCE = 4;
const BUSY = new Set([429, 503]);
const BUSY_SECONDS = 2;
const KEEP_MS = 500;
const KEPT = "captionfleet.draft";
const FRESH = {
  file: null, image: "", state: "waiting", progress: 0, message: "", twin: "", request: null,
  broken: false, removed: false,
};

export class Tray {
  constructor() {
    this.items = reactive([]);
    this.count = reactive({ usable: 0, moving: 0, rejected: 0, twins: 0 });
    this.known = new Set(); // marks of the files that are here
    this.first = new Map(); // image id -> the first item that is this picture
    this.waiting = [];
    this.sending = 0;
    this.next = 0;
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
    const fresh = files.filter(({ file, name }) => {
      const mark = markOf(file, name);
      const isNew = !this.known.has(mark);
      this.known.add(mark);
      return isNew;
    });
    this.#append(fresh.map(({ file, name }) => (
      { file: markRaw(file), name, mark: markOf(file, name), thumbnail: URL.createObjectURL(file) })));
    this.#pump();
    return files.length - fresh.length;
  }

  remove(item) {
    item.request?.abort();
    this.count[fate(item)] -= 1;
    this.known.delete(item.mark);
    if (item.file) URL.revokeObjectURL(item.thumbnail);
    item.removed = true;
    this.items.splice(this.items.indexOf(item), 1);
    if (item.image) this.#findTwins();
    this.#keep();
  }

  clear() {
    for (const item of [...this.items].reverse()) this.remove(item);
  }

  retry(item) {
    this.#become(item, "waiting", { message: "" });
    this.waiting.push(item);
    this.#pump();
  }

  /** What a job takes: [{id, filename}]. */
  images() {
    const usable = this.items.filter((item) => fate(item) === "usable");
    return usable.map((item) => ({ id: item.image, filename: item.name }));
  }

  forgetDraft() {
    clearTimeout(this.keeping);
    this.keeping = 0;
    sessionStorage.removeItem(KEPT);
  }

  #append(given) {
    const before = this.items.length;
    for (const each of given) this.items.push({ ...FRESH, key: (this.next += 1), ...each });
    for (const item of this.items.slice(before)) {
      this.count[fate(item)] += 1;
      if (item.state === "waiting") this.waiting.push(item);
    }
  }

  /** Every change of an item's fate goes through here, so that the counts are right. */
  #become(item, state, more = {}) {
    if (item.removed) return;
    this.count[fate(item)] -= 1;
    Object.assign(item, more, { state });
    this.count[fate(item)] += 1;
  }

  #pump() {
    while (this.sending < AT_ONCE && this.waiting.length) {
      const item = this.waiting.shift();
      if (!item.removed) this.#send(item);
    }
  }

  async #send(item) {
    this.sending += 1;
    this.#become(item, "sending", { progress: 0 });
    let away = false;
    try {
      const { id } = await upload(item);
      this.#arrived(item, id);
    } catch (error) {
      away = error instanceof Unreachable;
      this.#failed(item, error);
    }
    item.request = null;
    this.sending -= 1;
    if (!away) this.#pump(); // else whenBack() goes on
  }

  #arrived(item, image) {
    this.#become(item, "there", { image, progress: 1 });
    this.#compare(item);
    if (item.broken) Object.assign(item, { thumbnail: thumbnailOf(image), broken: false });
    this.#keep();
  }

  #failed(item, error) {
    if (error instanceof Unreachable) {
      this.#become(item, "waiting");
      this.waiting.unshift(item);
    } else if (BUSY.has(error.status)) {
      this.#become(item, "waiting");
      setTimeout(() => this.retry(item), (error.retryAfter || BUSY_SECONDS) * 1000);
    } else {
      this.#become(item, "rejected", { message: error.message });
    }
  }

  /** Equal bytes under the same name count once; under another name they are said to be equal. */
  #compare(item) {
    const first = this.first.get(item.image);
    if (first && first.key < item.key) {
      this.#become(item, "there", { twin: first.name === item.name ? "same" : first.name });
      return;
    }
    // The earlier one in the list is the original, whichever arrived first.
    this.first.set(item.image, item);
    this.#become(item, "there", { twin: "" });
    if (first && first !== item) this.#compare(first);
  }

  #findTwins() {
    this.first.clear();
    for (const item of this.items) if (item.state === "there") this.#compare(item);
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
    this.#append(kept.map(({ image, name }) => (
      { image, name, state: "there", progress: 1, thumbnail: thumbnailOf(image) })));
    this.#findTwins();
  }
}

/** How an item counts. Pure. */
function fate({ state, twin }) {
  if (state === "rejected") return "rejected";
  if (state !== "there") return "moving";
  return twin === "same" ? "twins" : "usable";
}

function markOf(file, name) {
  return `${name}|${file.size}|${file.lastModified}`;
}

function thumbnailOf(image) {
  return `${DOORS}/images/${image}/thumbnail`;
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
