// One picture large, with all its captions beside it. Left and right go to the neighbors.
import { computed, ref } from "vue";
import { Cell } from "./cell.js";
import { Icon } from "./icon.js";
import { Sheet } from "./sheet.js";
import { promptLabel } from "./columns.js";
import { copyCaption } from "./copying.js";

export const PictureSheet = {
  components: { Cell, Icon, Sheet },
  props: { state: Object, start: Number },
  emits: ["close"],
  template: `
    <Sheet :title="row ? row.image.filename : 'Picture'" wide class="picture-sheet" @close="$emit('close')"
        @keydown="keys">
      <div v-if="row" class="picture-large">
        <figure><img :src="'/api/v1/images/' + row.image.id" :alt="row.image.filename">
          <figcaption class="muted">{{ row.image.width }} × {{ row.image.height }} pixels, picture {{ at + 1 }} of
            {{ state.rows.state.total }}
            <span class="pair"><button type="button" class="quiet" aria-label="Previous picture"
                :disabled="at === 0" @click="go(-1)"><Icon name="left" /></button>
            <button type="button" class="quiet" aria-label="Next picture"
                :disabled="at + 1 >= state.rows.state.total" @click="go(1)">
                  <Icon name="right" /></button></span></figcaption></figure>
        <ul><li v-for="column in state.visible.value" :key="column.id">
          <h3>{{ column.model }} <span class="muted">{{ promptLabel(column) }}</span></h3>
          <Cell :task="row.cells[column.id]" active @star="state.star(row.cells[column.id])"
                @retry="state.retry(row.cells[column.id])" @copy="copyCaption(row.cells[column.id])" /></li></ul>
      </div>
      <p v-else class="muted">This picture is still on its way.</p>
    </Sheet>`,
  setup(props) {
    const at = ref(props.start);
    const { rows } = props.state;
    const row = computed(() => props.state.drawn.value >= 0 && rows.state.version >= 0 && rows.at(at.value));
    function go(step) {
      at.value = Math.min(Math.max(at.value + step, 0), rows.state.total - 1);
      rows.want(at.value, at.value);
    }
    function keys(event) {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) go(step);
    }
    return { at, row, go, keys, promptLabel, copyCaption };
  },
};
