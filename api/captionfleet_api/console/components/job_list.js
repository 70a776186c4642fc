// All jobs, newest first, with how far each is.
import { computed, ref, shallowRef } from "vue";
import { usePoll } from "captionfleet-console/poll.js";
import { get } from "captionfleet-console/rest.js";
import { ago, clock, duration, plural } from "captionfleet-console/words.js";

const LIMIT = 50;
const RUNNING_MS = 2000;
const QUIET_MS = 10000;

export default {
  template: `
    <section class="list" aria-labelledby="jobs-title">
      <h1 id="jobs-title">Jobs</h1>
      <p v-if="error" class="failure" role="alert">{{ error }}</p>
      <p v-if="!jobs && !error" class="muted">Reading the jobs…</p>
      <div v-if="jobs && !jobs.length" class="empty"><p><b>No job yet.</b></p><p>A job is a set of pictures shown to
        some models. <a href="/">Make the first comparison</a>.</p></div>
      <ul v-if="jobs?.length" class="jobs">
        <li v-for="job in jobs" :key="job.id"><a :href="'/jobs/' + encodeURIComponent(job.id)">
          <span class="job-name">{{ job.name || job.id }}</span>
          <span class="job-state"><span class="dot" :class="mood(job)"></span>{{ stateWords(job) }}<span
              v-if="job.counts.failed" class="failure">, {{ job.counts.failed }} failed</span></span>
          <progress :max="all(job) || 1" :value="ended(job)"
              :aria-label="'Progress of ' + (job.name || job.id)"></progress>
          <span class="muted job-facts">{{ plural(job.images, "picture") }} × {{ models(job) }}</span>
          <time class="muted" :title="clock(job.created_at)">{{ ago(job.created_at) }}</time>
        </a></li>
      </ul>
      <p v-if="next"><button type="button" @click="more">Older jobs</button></p>
    </section>`,
  setup() {
    const newest = shallowRef(null);
    const older = shallowRef([]);
    const next = ref(null);
    const error = ref("");
    async function look() {
      try {
        const page = await get(`/jobs?limit=${LIMIT}`);
        newest.value = page.items;
        if (!older.value.length) next.value = page.next;
        error.value = "";
      } catch (problem) {
        error.value = problem.message;
      }
    }
    async function more() {
      try {
        const page = await get(`/jobs?limit=${LIMIT}&cursor=${encodeURIComponent(next.value)}`);
        older.value = [...older.value, ...page.items];
        next.value = page.next;
      } catch (problem) {
        error.value = problem.message;
      }
    }
    const jobs = computed(() => newest.value && once([...newest.value, ...older.value]));
    usePoll(look, () => (newest.value?.some((job) => job.state === "running") ? RUNNING_MS : QUIET_MS));
    return { jobs, next, more, error, plural, ago, clock, ended, all, stateWords, mood, models };
  },
};

/** A job that slid from the newest page to an older one is listed once. */
function once(jobs) {
  return [...new Map(jobs.map((job) => [job.id, job])).values()];
}

function ended({ counts }) {
  return counts.captioned + counts.failed + counts.cancelled;
}

function all({ counts }) {
  return Object.values(counts).reduce((sum, each) => sum + each, 0);
}

function models({ columns }) {
  return [...new Set(columns.map((column) => column.model))].join(", ");
}

function stateWords(job) {
  if (job.state !== "running") return job.state === "completed" ? "done" : "canceled";
  const eta = job.eta_seconds === null || job.eta_seconds === undefined ? "" : `, about ${duration(job.eta_seconds)}`;
  return `${ended(job)} of ${all(job)}${eta}`;
}

function mood(job) {
  if (job.state === "running") return "busy";
  return job.state === "completed" ? "good" : "off";
}
