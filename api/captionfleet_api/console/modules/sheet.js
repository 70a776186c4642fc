// A dialog over the page: the browser's own, which keeps the focus inside and closes on Escape.
import { onMounted, ref } from "vue";
import { Icon } from "./icon.js";

export const Sheet = {
  components: { Icon },
  props: { title: String, wide: Boolean },
  emits: ["close"],
  template: `
    <dialog ref="dialog" class="sheet" :class="{ wide }" :aria-label="title" @close="$emit('close')"
            @click="$event.target === dialog && dialog.close()" @keydown.stop>
      <header><h2>{{ title }}</h2>
        <button type="button" class="quiet" aria-label="Close" @click="dialog.close()">
          <Icon name="close" /></button>
      </header>
      <div class="sheet-body"><slot :close="() => dialog.close()" /></div>
    </dialog>`,
  setup() {
    const dialog = ref(null);
    onMounted(() => dialog.value.showModal());
    return { dialog };
  },
};
