// The grid picture x column: only rows in view are drawn, heads and pictures stay in view.
import { computed, nextTick, onMounted, onUnmounted, ref, watch } from "vue";
import { Cell } from "./cell.js";
import { ColumnFoot } from "./column_foot.js";
import { ColumnHead } from "./column_head.js";
import { moved, placed, promptLabel, toggled } from "./columns.js";
import { GridKeys } from "./grid_keys.js";
import { copyCaption } from "./copying.js";
import { Marked } from "./marked.js";
import { cellSeconds } from "./pace.js";
import { usePoll } from "./poll.js";
import { measure, useVirtualRows } from "./virtual.js";
import { plural } from "./words.js";

const NARROW = 640;
const LOOK_MS = 2000;

export const Grid = {
  components: { Cell, ColumnHead, ColumnFoot, Marked },
  directives: { measure },
  props: { state: Object, scroller: Function },
  emits: ["picture"],
  template: `
    <div class="grid" role="grid" :aria-label="'Captions of ' + (state.job.value?.name || 'this job')"
         :aria-rowcount="rows.state.total + 2" :aria-colcount="columns.length + 1"
         :class="{ cards }" :style="{ '--columns': columns.length }" @keydown="keys.take($event)">
      <div class="grid-head" role="row" aria-rowindex="1">
        <div role="columnheader" class="corner">{{ pictures }}</div>
        <div v-for="(column, at) in columns" :key="column.id" role="columnheader">
          <ColumnHead :column="column" :summary="state.summary[column.id]" :rate="rate(column)"
            :first="at === 0" :last="at === columns.length - 1"
            @hide="hide(column.id)" @move="move(column.id, $event)"
            @place="place($event, column.id)" @retry="state.retryFailed(column.id)" />
        </div>
      </div>
      <div class="grid-body" role="rowgroup" ref="body" :style="{ height: view.height + 'px' }">
        <div v-for="index in indices" :key="index" role="row" class="grid-row" :aria-rowindex="index + 2"
             :data-index="index" :style="{ top: top(index) + 'px' }" v-measure="observer">
          <div role="rowheader" class="picture" data-column="0" :tabindex="tab(index, 0)"
               @focus="keys.at(index, 0)">
            <template v-if="row(index)">
              <button type="button" class="thumb" tabindex="-1"
                      :aria-label="'Show ' + row(index).image.filename" @click="$emit('picture', index)">
                <img :src="'/api/v1/images/' + row(index).image.id + '/thumbnail'" alt="" loading="lazy"
                     decoding="async" :width="row(index).image.width" :height="row(index).image.height">
              </button>
              <span class="filename"><Marked :text="row(index).image.filename" :q="rows.state.q" /></span>
            </template>
            <span v-else class="muted">…</span>
          </div>
          <div v-for="(column, c) in columns" :key="column.id" role="gridcell" class="grid-cell"
               :data-column="c + 1" :tabindex="tab(index, c + 1)" @focus="keys.at(index, c + 1)">
            <div class="cell-name">{{ column.model }} <span class="muted">{{ promptLabel(column) }}</span></div>
            <Cell :task="row(index)?.cells[column.id]" :q="rows.state.q" :eta="eta(index, column)"
                  :active="keys.isActive(index, c + 1)" @star="state.star(row(index).cells[column.id])"
                  @retry="state.retry(row(index).cells[column.id])"
                  @copy="copyCaption(row(index).cells[column.id])" />
          </div>
        </div>
      </div>
      <div class="grid-foot" role="row" :aria-rowindex="rows.state.total + 2">
        <div role="rowheader" class="corner">Summary</div>
        <div v-for="column in columns" :key="column.id" role="gridcell">
          <div class="cell-name">{{ column.model }} <span class="muted">{{ promptLabel(column) }}</span></div>
          <ColumnFoot :summary="state.summary[column.id]" /></div>
      </div>
    </div>`,
  setup(props) {
    const { state, scroller } = props;
    const { rows, layout } = state;
    const body = ref(null);
    const cards = useCards(scroller);
    const drawn = useVirtualRows({
      scroller, body: () => body.value, total: () => rows.state.total,
      estimate: () => (cards.value ? 240 + 90 * state.visible.value.length : 124),
    });
    const { view, observer } = drawn;
    const keys = new GridKeys(state, () => body.value, (row) => drawn.reveal(row));
    watch(() => [view.first, view.last, rows.state.version], () => rows.want(view.first, view.last));
    watch(() => [rows.state.total, rows.state.version, state.visible.value.length],
      () => nextTick(() => drawn.refresh()));
    usePoll(() => lookAtWaiting(state, view), () => LOOK_MS);
    const all = computed(() => state.job.value?.columns || []);
    return {
      rows, body, cards, view, observer, keys, promptLabel, copyCaption,
      columns: state.visible,
      indices: computed(() => drawnIndices(view, keys.active.row, rows.state.total)),
      pictures: computed(() => pictureWords(rows.state)),
      top: (index) => view.version >= 0 && drawn.top(index),
      tab: (row, column) => (keys.isActive(row, column) ? 0 : -1),
      row: (index) => state.drawn.value >= 0 && rows.state.version >= 0 && rows.at(index),
      rate: (column) => state.pace.rate(column.id),
      eta: (index, column) => eta(state, index, column),
      hide: (id) => state.setLayout(toggled(layout.value, id)),
      move: (id, step) => state.setLayout(moved(all.value, layout.value, id, step)),
      place: (id, target) => state.setLayout(placed(all.value, layout.value, id, target)),
    };
  },
};

/** Is there only room for a card per picture? */
function useCards(scroller) {
  const cards = ref(false);
  const fit = () => (cards.value = scroller().clientWidth < NARROW);
  const observer = new ResizeObserver(fit);
  onMounted(() => {
    observer.observe(scroller());
    fit();
  });
  onUnmounted(() => observer.disconnect());
  return cards;
}

/** The rows in view, and the one with the focus, or the keyboard would lose its place. */
function drawnIndices({ first, last }, focused, total) {
  const range = Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);
  const outside = focused < total && (focused < first || focused > last);
  return outside ? [...range, focused] : range;
}

function pictureWords({ q, total, complete }) {
  if (!q) return plural(total, "picture");
  return `${plural(total, "picture")}${complete ? "" : " or more"} found`;
}

function eta(state, index, column) {
  const waiting = state.summary[column.id]?.waiting;
  const { images } = state.job.value;
  return cellSeconds(index, images, waiting, state.pace.rate(column.id));
}

/** Reasons and running cells are live numbers, not events: look again while some are in view. */
async function lookAtWaiting(state, view) {
  if (state.job.value?.state === "running" && !state.rows.searching) {
    await state.rows.lookAgain(view.first, view.last);
  }
}
