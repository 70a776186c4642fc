// Puts a caption on the person's clipboard.
import { note } from "./notes.js";

export async function copyCaption(task) {
  try {
    await navigator.clipboard.writeText(task.caption.text);
    note("Copied.");
  } catch {
    note("The browser does not let this page copy. Select the text and copy it by hand.", "bad");
  }
}
