// Short notes to the person: shown for a moment, and read out by screen readers.
import { reactive } from "vue";

export const notes = reactive([]);
const SHOWN_MS = 4000;
let next = 0;

export function note(text, kind = "plain") {
  if (notes.some((each) => each.text === text)) return;
  const id = (next += 1);
  notes.push({ id, text, kind });
  setTimeout(() => {
    const at = notes.findIndex((each) => each.id === id);
    if (at >= 0) notes.splice(at, 1);
  }, kind === "bad" ? 3 * SHOWN_MS : SHOWN_MS);
}
