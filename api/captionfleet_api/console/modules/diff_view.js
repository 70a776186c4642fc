// A unified diff, line by line. Signs say what changed, so that nobody needs the colors.
import { computed } from "vue";

export const DiffView = {
  props: { text: String, label: String },
  template: `
    <pre class="diff" tabindex="0" :aria-label="label"><span v-for="line in lines" :class="line.kind">{{ line.text }}
</span></pre>`,
  setup(props) {
    return { lines: computed(() => props.text.replace(/\n$/, "").split("\n").map(described)) };
  },
};

/** Pure. */
function described(text) {
  if (/^(---|\+\+\+) /.test(text)) return { kind: "file", text };
  const kind = { "+": "added", "-": "removed", "@": "where", "\\": "where" }[text[0]] || "same";
  return { kind, text };
}
