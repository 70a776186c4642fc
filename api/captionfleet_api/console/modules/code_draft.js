// The code a person works on: its files and arguments, what the server's check says, and sending it.
//
// The server checks by reading; nothing is run before a worker does.
import { computed, reactive, watch } from "vue";
import { get, send } from "./rest.js";

const CHECK_MS = 350;
const DOOR = "/models/custom";

export class CodeDraft {
  constructor(model) {
    this.state = reactive({
      model, name: model, entrypoint: "", files: [], open: 0, rows: [],
      base: null, // the newest version, as it was when it was read
      gone: false, // the model was deleted: the same code again is something new
      check: null, problems: [], refusal: "", checking: false, sending: false,
    });
    this.asked = 0;
    watch(() => [this.body(), this.state.base], () => this.#checkSoon(), { deep: true });
    this.change = computed(() => this.#change());
  }

  /** Take over a version: {code, entrypoint, kwargs}. */
  take(version) {
    const { state } = this;
    state.files = Object.entries(version.code).map(([path, content]) => ({ path, content }));
    state.entrypoint = version.entrypoint;
    state.rows = Object.entries(version.kwargs).map(([name, value]) => ({ name, value }));
    state.open = 0;
  }

  async loadNewest(number) {
    const version = await get(`${DOOR}/${encodeURIComponent(this.state.model)}/versions/${number}`);
    this.state.base = version;
    this.take(version);
  }

  /** Add or replace files [{path, content}]; the first of them is shown. */
  add(files) {
    const { state } = this;
    for (const file of files) {
      const known = state.files.find((each) => each.path === file.path);
      if (known) known.content = file.content;
      else state.files.push(file);
    }
    if (files.length) state.open = state.files.findIndex((each) => each.path === files[0].path);
    if (!state.base) state.entrypoint = "";
  }

  remove(at) {
    this.state.files.splice(at, 1);
    this.state.open = Math.max(0, Math.min(this.state.open, this.state.files.length - 1));
  }

  body() {
    const { name, entrypoint, files, rows } = this.state;
    const named = rows.filter((row) => row.name.trim());
    return {
      ...(name.trim() ? { name: name.trim() } : {}),
      ...(entrypoint.trim() ? { entrypoint: entrypoint.trim() } : {}),
      files: files.map(({ path, content }) => ({ path, content })),
      kwargs: Object.fromEntries(named.map((row) => [row.name.trim(), row.value])),
    };
  }

  /** Send it. Returns the version, or null with `refusal` or `problems` set. */
  async submit() {
    const { state } = this;
    state.sending = true;
    try {
      const { kwargs, ...rest } = this.body();
      if (this.change.value !== "kwargs") return await send("POST", DOOR, { ...rest, kwargs });
      return await send("PUT", `${DOOR}/${encodeURIComponent(state.model)}/kwargs`, { kwargs });
    } catch (error) {
      this.#told(error);
      return null;
    } finally {
      state.sending = false;
    }
  }

  /** What differs from the newest version: "new", "code", "kwargs", or "" for nothing. */
  #change() {
    const { base, files, entrypoint, gone } = this.state;
    if (gone) return "code";
    if (!base) return files.length ? "new" : "";
    const same = files.length === Object.keys(base.code).length
      && files.every(({ path, content }) => base.code[path] === content)
      && (!entrypoint.trim() || entrypoint.trim() === base.entrypoint);
    if (!same) return "code";
    return sameWords(this.body().kwargs, base.kwargs) ? "" : "kwargs";
  }

  #checkSoon() {
    clearTimeout(this.timer);
    this.asked += 1;
    this.state.checking = this.state.files.length > 0;
    this.timer = setTimeout(() => this.#check(this.asked), CHECK_MS);
  }

  async #check(asked) {
    const { state } = this;
    if (!state.files.length) return void Object.assign(state, NOTHING_TOLD, { checking: false });
    try {
      const check = await send("POST", `${DOOR}?dryRun=All`, this.body());
      if (asked === this.asked) Object.assign(state, NOTHING_TOLD, { check, checking: false });
    } catch (error) {
      if (asked === this.asked) this.#told(error);
    }
  }

  #told(error) {
    const problems = error.places || [];
    const refusal = problems.length ? "" : error.message;
    Object.assign(this.state, { check: null, problems, refusal, checking: false });
  }
}

const NOTHING_TOLD = { check: null, problems: [], refusal: "" };

function sameWords(one, other) {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name]);
}
