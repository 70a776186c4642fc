// Which columns a person sees and in what order: a preference of this browser, kept per job. Pure,
// but for the two functions that keep it.
import { recall, remember } from "./preferences.js";

/** The job's columns in the person's order; columns they never saw come last. */
export function arranged(columns, layout) {
  const place = (column) => {
    const at = layout.order.indexOf(column.id);
    return at < 0 ? layout.order.length + columns.indexOf(column) : at;
  };
  return [...columns].sort((a, b) => place(a) - place(b));
}

export function shown(columns, layout) {
  return arranged(columns, layout).filter((column) => !layout.hidden.includes(column.id));
}

/** The layout with column `id` moved by `step` places among the columns that are shown. */
export function moved(columns, layout, id, step) {
  const visible = shown(columns, layout).map((column) => column.id);
  const target = visible[visible.indexOf(id) + step];
  return target === undefined ? layout : placed(columns, layout, id, target);
}

/** The layout with column `id` put where column `target` is. */
export function placed(columns, layout, id, target) {
  const order = arranged(columns, layout).map((column) => column.id);
  const to = order.indexOf(target);
  order.splice(order.indexOf(id), 1);
  order.splice(to, 0, id);
  return { ...layout, order };
}

export function toggled(layout, id) {
  const hidden = layout.hidden.includes(id)
    ? layout.hidden.filter((each) => each !== id)
    : [...layout.hidden, id];
  return { ...layout, hidden };
}

/** How a column is called: its model, and its prompt if it has one. */
export function promptLabel(column) {
  const text = column.prompt_name || column.prompt || "";
  return text.length > 64 ? `${text.slice(0, 62)}…` : text;
}

const EMPTY = { order: [], hidden: [] };

export function keptLayout(job) {
  return { ...EMPTY, ...recall(`columns.${job}`, EMPTY) };
}

export function keepLayout(job, layout) {
  remember(`columns.${job}`, layout);
}
