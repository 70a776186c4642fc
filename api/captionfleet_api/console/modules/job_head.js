// The head of a job: what it is, how far it is, and what can be done with all of it.
import { computed, ref, watch } from "vue";
import { Icon } from "./icon.js";
import { Menu } from "./menu.js";
import { DOORS } from "./rest.js";
import { ago, clock, duration, plural } from "./words.js";

const TYPING_MS = 250;
const FORMATS = {
  csv: "CSV table", jsonl: "JSON lines", txt: "Text lines", zip: "A text file per picture (zip)",
};

export const JobHead = {
  components: { Icon, Menu },
  props: { state: Object },
  emits: ["add", "columns"],
  template: `
    <header class="job-head">
      <div class="job-title">
        <h1>{{ job.name || "Job " + job.id }}</h1>
        <span class="muted">{{ plural(job.images, "picture") }} × {{ plural(job.columns.length, "column") }}, <time
            :title="clock(job.created_at)">{{ ago(job.created_at) }}</time></span>
      </div>
      <div class="job-progress">
        <progress :max="total || 1" :value="ended"
            :aria-label="'Progress of ' + (job.name || 'this job')"></progress>
        <p>{{ words }}</p>
        <p class="unseen" aria-live="polite">{{ spoken }}</p>
      </div>
      <details v-if="job.rejected.length" class="rejected">
        <summary>{{ plural(job.rejected.length, "file") }} could not be used</summary>
        <ul><li v-for="file in job.rejected"><b>{{ file.filename }}</b>: {{ file.message }}</li></ul>
      </details>
      <div class="job-tools" role="toolbar" aria-label="This job">
        <label class="search"><Icon name="search" /><input type="search" v-model="typed" data-search maxlength="200"
          placeholder="Search captions and file names ( / )" aria-label="Search captions and file names"></label>
        <button type="button" @click="$emit('add')"><Icon name="plus" /> Add column</button>
        <button type="button" @click="$emit('columns')"><Icon name="columns" /> Columns<template
            v-if="hidden"> ({{ hidden }} hidden)</template></button>
        <Menu text="Export" class="export"><template #button>Export <Icon name="down" /></template>
          <a v-for="(text, format) in FORMATS" role="menuitem" download
              :href="exportAddress(format)">{{ text }}</a></Menu>
        <button v-if="job.counts.failed" type="button" @click="state.retryFailed()"><Icon name="retry" /> Retry
          {{ job.counts.failed }} failed</button>
        <button v-if="job.state === 'running'" type="button" @click="state.cancel()">
          <Icon name="close" /> Cancel</button>
      </div>
    </header>`,
  setup(props) {
    const job = computed(() => props.state.job.value);
    const counts = computed(() => job.value.counts);
    const ended = computed(() => counts.value.captioned + counts.value.failed + counts.value.cancelled);
    const typed = ref("");
    let timer = 0;
    watch(typed, (q) => {
      clearTimeout(timer);
      timer = setTimeout(() => props.state.rows.search(q.trim(), job.value.images), TYPING_MS);
    });
    return {
      job, ended, typed, FORMATS, plural, ago, clock,
      total: computed(() => Object.values(counts.value).reduce((sum, each) => sum + each, 0)),
      words: computed(() => progressWords(job.value)),
      spoken: useSpoken(job),
      hidden: computed(() => job.value.columns.length - props.state.visible.value.length),
      exportAddress: (format) => `${DOORS}/jobs/${encodeURIComponent(job.value.id)}/export?format=${format}`,
    };
  },
};

/** The progress for those who hear it: at the end and each tenth, not at every caption. */
function useSpoken(job) {
  const spoken = ref("");
  const tenth = ({ counts, state }) => {
    const all = Object.values(counts).reduce((sum, each) => sum + each, 0);
    return `${state} ${Math.floor((10 * (counts.captioned + counts.failed)) / (all || 1))}`;
  };
  watch(() => tenth(job.value), () => (spoken.value = progressWords(job.value)));
  return spoken;
}

function progressWords({ state, counts, eta_seconds: eta }) {
  const open = counts.pending + counts.queued + counts.running;
  const parts = [`${counts.captioned} captioned`];
  if (counts.failed) parts.push(`${counts.failed} failed`);
  if (counts.cancelled) parts.push(`${counts.cancelled} canceled`);
  if (open) parts.push(`${open} to go`);
  if (open && eta !== null && eta !== undefined) parts.push(`about ${duration(eta)}`);
  if (state !== "running") parts.unshift(state === "completed" ? "Done" : "Canceled");
  return parts.join(" · ");
}
