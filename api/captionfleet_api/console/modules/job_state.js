// One job as its page holds it: shapes from the server, kept fresh by events, and what can be done.
import { computed, reactive, ref, shallowRef } from "vue";
import { arranged, keepLayout, keptLayout, shown } from "./columns.js";
import { whenBack } from "./connection.js";
import { note } from "./notes.js";
import { Pace } from "./pace.js";
import { get, send, Unreachable } from "./rest.js";
import { Rows } from "./rows.js";
import { JobStream } from "./stream.js";

const FLUSH_MS = 100;
const SUMMARY_MS = 1000;

export class JobState {
  constructor(id) {
    this.id = id;
    this.path = `/jobs/${encodeURIComponent(id)}`;
    this.job = shallowRef(null);
    this.summary = reactive({});
    this.failure = ref("");
    this.layout = ref(keptLayout(id));
    this.drawn = ref(0); // raised when cells changed
    this.rows = new Rows(id, (error) => this.#tell(error));
    this.pace = new Pace();
    this.columns = computed(() => arranged(this.job.value?.columns || [], this.layout.value));
    this.visible = computed(() => shown(this.job.value?.columns || [], this.layout.value));
    this.arrived = new Map();
    this.stopBack = whenBack(() => this.refresh());
    this.stream = new JobStream(id, {
      task: (task) => this.#taskCame(task),
      job: (job) => this.#jobCame(job),
      gap: () => this.refresh(),
    });
  }

  async open() {
    await this.refresh();
    this.stream.open();
  }

  close() {
    this.stream.close();
    this.stopBack();
    clearTimeout(this.flushing);
    clearTimeout(this.summing);
  }

  /** Read everything anew, as after a gap in the events. */
  async refresh() {
    try {
      this.#jobCame(await get(this.path));
      this.rows.expire();
      await this.#summarize();
      this.failure.value = "";
    } catch (error) {
      this.failure.value = error.status === 404 ? `There is no job ${this.id}.` : error.message;
    }
  }

  setLayout(layout) {
    this.layout.value = layout;
    keepLayout(this.id, layout);
  }

  async star(task) {
    await this.#change(task.starred ? "DELETE" : "PUT", `/tasks/${task.id}/star`);
  }

  async retry(task) {
    await this.#change("POST", `/tasks/${task.id}/retry`);
    this.stream.restart();
  }

  async retryFailed(column) {
    await this.#act("retry", column ? { column } : {}, "Trying again what failed.");
  }

  async cancel() {
    await this.#act("cancel", {}, "Canceled what was waiting or running.");
  }

  /** Throws what the server says against it, for the dialog to show. */
  async addColumns(body) {
    this.#jobCame(await send("POST", `${this.path}/columns`, body));
    this.rows.expire();
    this.stream.restart();
    await this.#summarize();
  }

  async #act(verb, body, done) {
    try {
      this.#jobCame(await send("POST", `${this.path}/${verb}`, body));
      this.rows.expire();
      this.stream.restart();
      note(done);
      await this.#summarize();
    } catch (error) {
      note(error.message, "bad");
    }
  }

  async #change(method, path) {
    try {
      this.#taskCame(await send(method, path));
    } catch (error) {
      note(error.message, "bad");
    }
  }

  #tell(error) {
    if (error instanceof Unreachable) return; // the banner says so, and refresh() comes after it
    note(error.message, "bad");
  }

  #jobCame(job) {
    const columns = (each) => each?.columns.map((column) => column.id).join() || "";
    const grown = this.job.value && columns(this.job.value) !== columns(job);
    this.job.value = job;
    this.rows.resize(job.images);
    if (grown) this.rows.expire();
    this.#summarizeSoon();
  }

  #taskCame(task) {
    this.arrived.set(task.id, task);
    this.flushing ||= setTimeout(() => this.#flush(), FLUSH_MS);
    this.#summarizeSoon();
  }

  /** Many events become one drawing. */
  #flush() {
    this.flushing = 0;
    for (const task of this.arrived.values()) this.rows.apply(task);
    this.arrived.clear();
    this.drawn.value += 1;
  }

  #summarizeSoon() {
    this.summing ||= setTimeout(async () => {
      await this.#summarize().catch((error) => this.#tell(error));
      this.summing = 0;
    }, SUMMARY_MS);
  }

  async #summarize() {
    const { columns } = await get(`${this.path}/summary`);
    for (const column of columns) {
      this.summary[column.id] = column;
      this.pace.look(column.id, column.captioned + column.failed, Date.now());
    }
  }
}
