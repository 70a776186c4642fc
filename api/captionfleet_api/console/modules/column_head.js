// The head of a column: model, prompt, what is under way; dragged or moved by its menu.
import { computed } from "vue";
import { promptLabel } from "./columns.js";
import { Icon } from "./icon.js";
import { Menu } from "./menu.js";
import { duration, plural } from "./words.js";

const DRAGGED = "application/x-captionfleet-column";

export const ColumnHead = {
  components: { Icon, Menu },
  props: { column: Object, summary: Object, rate: Number, first: Boolean, last: Boolean },
  emits: ["hide", "move", "place", "retry"],
  template: `
    <div class="head" draggable="true" :class="{ over }" @dragstart="lift" @dragover="hover"
         @dragleave="over = false" @drop="drop">
      <div class="head-words">
        <strong>{{ column.model }}</strong>
        <span v-if="prompt" class="prompt" :title="column.prompt">{{ prompt }}</span>
        <span v-if="waiting" class="muted">{{ waiting }}</span>
      </div>
      <Menu :label="'Column ' + column.model + ': move or hide'">
        <template #button><Icon name="more" /></template>
        <button role="menuitem" type="button" :disabled="first" @click="$emit('move', -1)">Move left</button>
        <button role="menuitem" type="button" :disabled="last" @click="$emit('move', 1)">Move right</button>
        <button role="menuitem" type="button" @click="$emit('hide')">Hide</button>
        <button role="menuitem" type="button" v-if="summary?.failed" @click="$emit('retry')">Retry
          {{ summary.failed }} failed</button>
      </Menu>
    </div>`,
  data: () => ({ over: false }),
  methods: {
    lift(event) {
      event.dataTransfer.setData(DRAGGED, this.column.id);
      event.dataTransfer.effectAllowed = "move";
    },
    hover(event) {
      if (!event.dataTransfer.types.includes(DRAGGED)) return;
      event.preventDefault();
      this.over = true;
    },
    drop(event) {
      this.over = false;
      const id = event.dataTransfer.getData(DRAGGED);
      if (!id) return;
      event.preventDefault();
      if (id !== this.column.id) this.$emit("place", id);
    },
  },
  setup(props) {
    return {
      prompt: computed(() => promptLabel(props.column)),
      waiting: computed(() => {
        const left = props.summary?.waiting;
        if (!left) return "";
        const eta = props.rate ? `, about ${duration(left / props.rate)}` : "";
        return `${plural(left, "picture")} to go${eta}`;
      }),
    };
  },
};
