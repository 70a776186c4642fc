// All columns in a list: show, hide and move them without a mouse; what each comes to.
import { ColumnFoot } from "./column_foot.js";
import { moved, toggled } from "./columns.js";
import { Icon } from "./icon.js";
import { Sheet } from "./sheet.js";

export const ColumnSheet = {
  components: { ColumnFoot, Icon, Sheet },
  props: { state: Object },
  emits: ["close"],
  template: `
    <Sheet title="Columns" @close="$emit('close')">
      <ul class="column-list">
        <li v-for="column in state.columns.value" :key="column.id">
          <label><input type="checkbox" :checked="!hidden(column)" @change="toggle(column)">
            <span><b>{{ column.model }}</b><span v-if="column.prompt"
                class="prompt">{{ column.prompt }}</span></span></label>
          <ColumnFoot :summary="state.summary[column.id]" />
          <span class="pair">
            <button type="button" class="quiet" :disabled="hidden(column)"
                :aria-label="'Move ' + column.model + ' left'" @click="move(column, -1)">
                  <Icon name="left" /></button>
            <button type="button" class="quiet" :disabled="hidden(column)"
                :aria-label="'Move ' + column.model + ' right'" @click="move(column, 1)">
                  <Icon name="right" /></button>
          </span>
        </li>
      </ul>
    </Sheet>`,
  methods: {
    hidden(column) {
      return this.state.layout.value.hidden.includes(column.id);
    },
    toggle(column) {
      this.state.setLayout(toggled(this.state.layout.value, column.id));
    },
    move(column, step) {
      const { job, layout } = this.state;
      this.state.setLayout(moved(job.value.columns, layout.value, column.id, step));
    },
  },
};
