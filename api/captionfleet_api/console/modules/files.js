// Files out of a drop, a paste or a file dialog, folders included.

const PICTURE = /\.(jpe?g|png|gif|webp|bmp|tiff?|avif|heic|heif|jfif|ppm)$/i;

/** Could this be a picture? Only asked of what lies in folders: what a person picks is sent. */
function looksLikePicture({ name, type }) {
  return type.startsWith("image/") || PICTURE.test(name);
}

/** The files of a DataTransfer as {files: [{file, name}], skipped}; names keep the path in a folder. */
export async function filesOf(transfer) {
  // Entries are gone once this function first waits, so all are taken before.
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() || item.getAsFile());
  const found = { files: [], skipped: 0 };
  for (const entry of entries) {
    if (entry instanceof File) found.files.push({ file: entry, name: entry.name });
    else if (entry?.isDirectory) await gather(entry, `${entry.name}/`, found);
    else if (entry) found.files.push(await single(entry, ""));
  }
  return found;
}

/** The same of an <input type=file>, with or without webkitdirectory. */
export function filesOfInput(input) {
  const all = [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
  const files = input.webkitdirectory ? all.filter(({ file }) => looksLikePicture(file)) : all;
  return { files, skipped: all.length - files.length };
}

async function gather(folder, path, found) {
  const reader = folder.createReader();
  const read = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  // readEntries gives at most 100 at a time, and an empty list at the end.
  for (let some = await read(); some.length; some = await read()) {
    for (const entry of some) {
      if (entry.isDirectory) {
        await gather(entry, `${path}${entry.name}/`, found);
      } else {
        const each = await single(entry, path);
        if (looksLikePicture(each.file)) found.files.push(each);
        else found.skipped += 1;
      }
    }
  }
}

async function single(entry, path) {
  const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
  return { file, name: path + file.name };
}
