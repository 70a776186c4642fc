// A file's text with line numbers, and what the check has against a line, written beside it.
import { computed, nextTick, ref } from "vue";

export const CodeEditor = {
  props: { modelValue: String, label: String, problems: Array, readonly: Boolean },
  emits: ["update:modelValue"],
  template: `
    <div class="code"><div class="code-sheet">
      <div class="code-lines" aria-hidden="true">
        <div v-for="(line, at) in lines" class="code-line" :class="{ bad: told[at + 1] }"><span
            class="code-number">{{ at + 1 }}</span><span class="code-ghost">{{ line || " " }}</span><span
            v-if="told[at + 1]" class="code-why">{{ told[at + 1] }}</span></div>
      </div>
      <textarea ref="field" :value="modelValue" :aria-label="label" :readonly="readonly" wrap="off"
          spellcheck="false" autocapitalize="off" autocomplete="off" :aria-invalid="problems.length > 0"
          @input="$emit('update:modelValue', $event.target.value)" @keydown.enter.exact="indent"></textarea>
    </div></div>`,
  setup(props, { emit }) {
    const field = ref(null);
    const lines = computed(() => props.modelValue.split("\n"));
    const told = computed(() => {
      const found = {};
      for (const { line, message } of props.problems) {
        if (line) found[line] = found[line] ? `${found[line]}; ${message}` : message;
      }
      return found;
    });
    /** Put the cursor at the start of a line, from 1, and bring it into view. */
    function show(line) {
      const before = lines.value.slice(0, line - 1).join("\n").length;
      const at = before + (line > 1 ? 1 : 0);
      field.value.focus();
      field.value.setSelectionRange(at, at);
      field.value.closest(".code").scrollTo({ top: Math.max(0, (line - 4) * LINE_PIXELS), left: 0 });
    }
    /** A new line begins where the last one began, and deeper after a colon. */
    async function indent(event) {
      const { selectionStart: start, selectionEnd: end, value } = event.target;
      const line = value.slice(value.lastIndexOf("\n", start - 1) + 1, start);
      const space = line.match(/^[ \t]*/)[0] + (line.trimEnd().endsWith(":") ? "    " : "");
      if (!space || props.readonly) return;
      event.preventDefault();
      emit("update:modelValue", `${value.slice(0, start)}\n${space}${value.slice(end)}`);
      await nextTick();
      field.value.setSelectionRange(start + 1 + space.length, start + 1 + space.length);
    }
    return { field, lines, told, show, indent };
  },
};

const LINE_PIXELS = 20;
