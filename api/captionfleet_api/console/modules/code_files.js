// Python files out of a drop, a paste or a file dialog, as text.
const LARGEST = 100_000;

/** {files: [{path, content}], refused: [sentence]} of browser files. */
export async function codeOf(files) {
  const found = { files: [], refused: [] };
  for (const file of files) {
    if (!file.name.endsWith(".py")) {
      found.refused.push(`${file.name} is no Python file: only files that end in .py are taken.`);
    } else if (file.size > LARGEST) {
      found.refused.push(`${file.name} is larger than 100 kB: move data out of the code.`);
    } else {
      found.files.push({ path: file.name, content: await file.text() });
    }
  }
  return found;
}

export const EXAMPLE = `from captionfleet import CustomModel


class Brightness(CustomModel):
    """Tells bright pictures from dark ones."""

    def __init__(self, border="127"):
        self.border = int(border)

    def load(self):
        pass  # load weights here; self.device says where to

    def infer(self, image):
        level = image.convert("L").resize((1, 1)).getpixel((0, 0))
        return "a bright picture" if level > self.border else "a dark picture"
`;
