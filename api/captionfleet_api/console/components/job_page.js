// One job: head, grid and the sheets that open over it.
import { computed, onMounted, onUnmounted, ref, watch, watchEffect } from "vue";
import { AddColumn } from "captionfleet-console/add_column.js";
import { ColumnSheet } from "captionfleet-console/column_sheet.js";
import { Grid } from "captionfleet-console/grid.js";
import { JobHead } from "captionfleet-console/job_head.js";
import { JobState } from "captionfleet-console/job_state.js";
import { PictureSheet } from "captionfleet-console/picture_sheet.js";

export default {
  components: { AddColumn, ColumnSheet, Grid, JobHead, PictureSheet },
  props: { job: String },
  template: `
    <div class="job" ref="scroller" :style="measures"><div class="job-inner">
      <div v-if="state.failure.value && !loaded" class="empty" role="alert">
        <h1>{{ state.failure.value }}</h1>
        <p>It may have been deleted. <a href="/jobs">All jobs</a> or <a href="/">a new comparison</a>.</p>
      </div>
      <p v-else-if="!loaded" class="empty muted">Reading the job…</p>
      <template v-else>
        <JobHead ref="head" :state="state" @add="sheet = 'add'" @columns="sheet = 'columns'" />
        <p v-if="nothing" class="empty">No caption or file name contains “{{ state.rows.state.q }}”.</p>
        <p v-if="!state.visible.value.length" class="empty">All columns are hidden: show some under Columns.</p>
        <Grid v-show="!nothing" :state="state" :scroller="() => scroller" @picture="picture = $event" />
      </template>
      <AddColumn v-if="sheet === 'add'" :state="state" @close="sheet = ''" />
      <ColumnSheet v-if="sheet === 'columns'" :state="state" @close="sheet = ''" />
      <PictureSheet v-if="picture !== null" :state="state" :start="picture" @close="picture = null" />
    </div></div>`,
  setup(props) {
    const state = new JobState(props.job);
    const scroller = ref(null);
    const sheet = ref("");
    const picture = ref(null);
    const head = ref(null);
    const headHeight = ref(0);
    const tall = new ResizeObserver(() => (headHeight.value = head.value?.$el.offsetHeight || 0));
    const loaded = computed(() => state.job.value !== null);
    const search = state.rows.state;
    onMounted(() => state.open());
    onUnmounted(() => {
      state.close();
      tall.disconnect();
    });
    // Column heads stick below the job's head, which wraps to as many lines as it needs.
    watch(head, (now) => now && tall.observe(now.$el));
    watchEffect(() => {
      if (loaded.value) document.title = title(state.job.value);
    });
    return {
      measures: computed(() => (
        { "--columns": state.visible.value.length, "--head-height": `${headHeight.value}px` })),
      state, scroller, sheet, picture, loaded, head, headHeight,
      nothing: computed(() => search.q && search.complete && !search.loading && !search.total),
    };
  },
};

function title({ name, id, state, counts }) {
  const total = Object.values(counts).reduce((sum, each) => sum + each, 0);
  const percent = Math.floor((100 * (counts.captioned + counts.failed + counts.cancelled)) / (total || 1));
  return `${state === "running" ? `${percent} % · ` : ""}${name || id} · captionfleet`;
}
