// A button that opens a short list of things to do. Arrow keys move in it, Escape closes it.
import { nextTick, onUnmounted, ref, watch } from "vue";

export const Menu = {
  props: { label: String, text: String },
  template: `
    <div class="menu" ref="root" @keydown="keys" @focusout="left">
      <button type="button" :aria-label="label" aria-haspopup="menu" :aria-expanded="open"
              @click.stop="open = !open"><slot name="button">{{ text }}</slot></button>
      <div v-if="open" role="menu" class="menu-list" :aria-label="label || text" @click="open = false">
        <slot />
      </div>
    </div>`,
  setup() {
    const root = ref(null);
    const open = ref(false);
    const items = () => [...root.value.querySelectorAll("[role=menuitem]:not(:disabled)")];
    function keys(event) {
      if (!open.value) return;
      const all = items();
      const at = all.indexOf(document.activeElement);
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
      if (event.key === "Escape") {
        open.value = false;
        root.value.querySelector("button").focus();
      } else if (to === undefined) {
        return;
      } else {
        all[(to + all.length) % all.length].focus();
      }
      event.preventDefault();
      event.stopPropagation();
    }
    const left = (event) => {
      if (!root.value.contains(event.relatedTarget)) open.value = false;
    };
    const outside = (event) => {
      if (root.value && !root.value.contains(event.target)) open.value = false;
    };
    watch(open, async (now) => {
      document[now ? "addEventListener" : "removeEventListener"]("pointerdown", outside);
      await nextTick();
      if (now) items()[0]?.focus();
    });
    onUnmounted(() => document.removeEventListener("pointerdown", outside));
    return { root, open, keys, left };
  },
};
