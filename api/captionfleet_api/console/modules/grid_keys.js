// The keyboard in the grid: arrows move between cells, letters act on the cell they are at.
import { nextTick, reactive } from "vue";
import { moved, toggled } from "./columns.js";

const PAGE_ROWS = 5;
const ENDED_BADLY = new Set(["failed", "cancelled"]);

export function useGridKeys({ state, body, reveal, copy }) {
  const active = reactive({ row: 0, column: 0 });
  const last = () => ({ row: state.rows.state.total - 1, column: state.visible.value.length });

  async function go(row, column) {
    active.row = Math.min(Math.max(row, 0), last().row);
    active.column = Math.min(Math.max(column, 0), last().column);
    await reveal(active.row);
    await nextTick();
    const row_ = body.value.querySelector(`[data-index="${active.row}"]`);
    const cell = row_?.querySelector(`[data-column="${active.column}"]`);
    cell?.focus({ preventScroll: true });
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  const task = () => {
    const column = state.visible.value[active.column - 1];
    return column && state.rows.at(active.row)?.cells[column.id];
  };

  function actOn(key) {
    const each = task();
    if (!each) return false;
    if (key === "s" && each.state === "captioned") state.star(each);
    else if (key === "c" && each.state === "captioned") copy(each);
    else if (key === "r" && ENDED_BADLY.has(each.state)) state.retry(each);
    else return false;
    return true;
  }

  function actOnColumn(event) {
    const column = state.visible.value[active.column - 1];
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!column) return false;
    if (event.shiftKey && step) {
      state.setLayout(moved(state.job.value.columns, state.layout.value, column.id, step));
      go(active.row, active.column + step);
    } else if (event.key === "h") {
      state.setLayout(toggled(state.layout.value, column.id));
      go(active.row, active.column);
    } else {
      return false;
    }
    return true;
  }

  function travel(event) {
    const { row, column } = active;
    const to = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      PageUp: [row - PAGE_ROWS, column], PageDown: [row + PAGE_ROWS, column],
      Home: event.ctrlKey ? [0, 0] : [row, 0],
      End: event.ctrlKey ? [last().row, last().column] : [row, last().column],
    }[event.key];
    if (to) go(...to);
    return Boolean(to);
  }

  function keys(event) {
    const place = event.target.closest("[data-column]");
    if (!place || event.altKey || event.metaKey) return;
    const letter = !event.ctrlKey && actOn(event.key);
    if (letter || actOnColumn(event) || travel(event)) event.preventDefault();
    else if (event.key === "Enter" && event.target === place) place.querySelector("button")?.click();
  }

  const isActive = (row, column) => active.row === row && active.column === column;
  return {
    active,
    keys,
    isActive,
    at: (row, column) => Object.assign(active, { row, column }),
    tab: (row, column) => (isActive(row, column) ? 0 : -1),
  };
}
