// The demo's sample pictures, fetched as if the person had dropped them.
import { note } from "./notes.js";

export async function sampleFiles() {
  const names = await fetch("/console-samples").then((answer) => (answer.ok ? answer.json() : []));
  if (!names.length) note("There are no sample pictures here: drop some of your own.", "bad");
  const files = await Promise.all(names.map(async (name) => {
    const blob = await fetch(`/console-samples/${encodeURIComponent(name)}`).then((answer) => answer.blob());
    return { file: new File([blob], name, { type: blob.type, lastModified: 0 }), name };
  }));
  return { files, skipped: 0 };
}
