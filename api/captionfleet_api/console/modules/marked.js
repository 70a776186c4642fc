// Text with every place marked where what was searched for occurs.
import { h } from "vue";
import { pieces } from "./words.js";

export function Marked({ text, q }) {
  return pieces(text, q).map((piece) => (piece.hit ? h("mark", piece.text) : piece.text));
}
Marked.props = ["text", "q"];
