// The keys, on one sheet.
import { Sheet } from "./sheet.js";

const KEYS = {
  "Everywhere": { "?": "this sheet", "/": "search", "Esc": "close what is open" },
  "New comparison": { "Ctrl+V": "paste pictures", "Ctrl+Enter": "caption them" },
  "Your own model": { "Ctrl+V": "paste a file or its text", "Ctrl+Enter": "upload it" },
  "Grid": {
    "← ↑ ↓ →": "move between cells", "Home, End": "first and last column",
    "Ctrl+Home, Ctrl+End": "first and last picture", "Enter": "act on the cell: show the picture, copy the caption, retry",
    "s": "star", "c": "copy the caption", "r": "retry what failed",
    "Shift+← Shift+→": "move the column", "h": "hide the column",
  },
};

export const HelpSheet = {
  components: { Sheet },
  emits: ["close"],
  template: `
    <Sheet title="Keys" @close="$emit('close')">
      <section v-for="(keys, place) in KEYS"><h3>{{ place }}</h3>
        <dl class="keys"><template
            v-for="(does, key) in keys"><dt><kbd>{{ key }}</kbd></dt><dd>{{ does }}</dd></template></dl>
      </section>
    </Sheet>`,
  setup: () => ({ KEYS }),
};
