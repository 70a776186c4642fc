// The keyboard in the grid: arrows move between cells, letters act on the cell they are at.
import { nextTick, reactive } from "vue";
import { copyCaption } from "./copying.js";
import { moved, toggled } from "./columns.js";

const PAGE_ROWS = 5;
const ENDED_BADLY = new Set(["failed", "cancelled"]);

export class GridKeys {
  /** `body()` is the element of the rows; `reveal(row)` sees that a row is drawn. */
  constructor(state, body, reveal) {
    Object.assign(this, { state, body, reveal });
    this.active = reactive({ row: 0, column: 0 });
  }

  /** The cell that Tab leads to: where the focus is or was. */
  isActive(row, column) {
    return this.active.row === row && this.active.column === column;
  }

  at(row, column) {
    Object.assign(this.active, { row, column });
  }

  take(event) {
    const place = event.target.closest("[data-column]");
    if (!place || event.altKey || event.metaKey) return;
    const acted = !event.ctrlKey && this.#actOnTask(event.key);
    if (acted || this.#actOnColumn(event) || this.#travel(event)) event.preventDefault();
    else if (event.key === "Enter" && event.target === place) place.querySelector("button")?.click();
  }

  get #column() {
    return this.state.visible.value[this.active.column - 1];
  }

  #actOnTask(key) {
    const task = this.#column && this.state.rows.at(this.active.row)?.cells[this.#column.id];
    if (!task) return false;
    if (key === "s" && task.state === "captioned") this.state.star(task);
    else if (key === "c" && task.state === "captioned") copyCaption(task);
    else if (key === "r" && ENDED_BADLY.has(task.state)) this.state.retry(task);
    else return false;
    return true;
  }

  #actOnColumn(event) {
    const { state, active } = this;
    const column = this.#column;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (column && event.shiftKey && step) {
      state.setLayout(moved(state.job.value.columns, state.layout.value, column.id, step));
      this.#go(active.row, active.column + step);
    } else if (column && event.key === "h" && !event.ctrlKey) {
      state.setLayout(toggled(state.layout.value, column.id));
      this.#go(active.row, active.column);
    } else {
      return false;
    }
    return true;
  }

  #travel({ key, ctrlKey }) {
    const { row, column } = this.active;
    const end = this.#end();
    const to = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      PageUp: [row - PAGE_ROWS, column], PageDown: [row + PAGE_ROWS, column],
      Home: [ctrlKey ? 0 : row, 0], End: [ctrlKey ? end.row : row, end.column],
    }[key];
    if (to) this.#go(...to);
    return Boolean(to);
  }

  #end() {
    return { row: this.state.rows.state.total - 1, column: this.state.visible.value.length };
  }

  async #go(row, column) {
    const end = this.#end();
    this.at(Math.min(Math.max(row, 0), end.row), Math.min(Math.max(column, 0), end.column));
    await this.reveal(this.active.row);
    await nextTick();
    const drawn = this.body().querySelector(`[data-index="${this.active.row}"]`);
    const cell = drawn?.querySelector(`[data-column="${this.active.column}"]`);
    cell?.focus({ preventScroll: true });
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
