// Pools and their workers: device, memory, copies, what is in flight, what is cached.
import { computed, ref, shallowRef } from "vue";
import { fleet } from "captionfleet-console/fleet.js";
import { wayToAdd } from "captionfleet-console/fleet_words.js";
import { usePoll } from "captionfleet-console/poll.js";
import { getAll } from "captionfleet-console/rest.js";
import { ago, bytes, plural } from "captionfleet-console/words.js";

const LOOK_MS = 2000;
const MOODS = { ready: "good", loading: "busy", downloading: "busy", unloading: "busy", failed: "bad" };

export default {
  template: `
    <section class="list" aria-labelledby="workers-title">
      <h1 id="workers-title">Workers</h1>
      <p v-if="error" class="failure" role="alert">{{ error }}</p>
      <p v-if="!groups && !error" class="muted">Reading the workers…</p>
      <div v-if="groups && !groups.length" class="empty">
        <p><b>No pool and no worker.</b></p>
        <p>{{ wayToAdd("CaptionWorkerPool", fleet) }}, or join from any machine:
          <code>RABBITMQ_URL=… captionfleet worker --pool NAME</code></p>
      </div>
      <section v-for="group in groups" :key="group.name" class="pool">
        <header>
          <h2>Pool {{ group.name }}</h2>
          <span v-if="group.device" class="badge">{{ group.device }}</span>
          <span class="muted">{{ group.status?.message || plural(group.workers.length, "worker") }}</span>
        </header>
        <p v-if="!group.workers.length" class="muted">No worker has been heard from.</p>
        <ul class="cards">
          <li v-for="worker in group.workers" :key="worker.id" class="card">
            <header>
              <h3>{{ worker.id }}</h3>
              <span class="push"></span>
              <span class="state"><span class="dot" :class="standing(worker).mood"></span>
                {{ standing(worker).words }}</span>
            </header>
            <p class="muted">{{ worker.device_name || worker.device }} on {{ worker.node }}, heard
              {{ ago(worker.seen_at) }}</p>
            <div class="memory">
              <div class="bar" role="meter" :aria-label="'Memory of ' + worker.id" aria-valuemin="0"
                   :aria-valuemax="worker.memory.total" :aria-valuenow="worker.memory.used"
                   :aria-valuetext="memoryWords(worker)">
                <span :style="{ width: (100 * worker.memory.used) / worker.memory.total + '%' }"></span>
              </div>
              <span>{{ memoryWords(worker) }}</span>
            </div>
            <table v-if="worker.copies.length">
              <thead>
                <tr><th>Copy</th><th>State</th><th class="number">In flight</th><th class="number">Memory</th></tr>
              </thead>
              <tbody>
                <tr v-for="copy in worker.copies" :key="copy.model">
                  <td>{{ copy.model }}</td>
                  <td><span class="dot" :class="moods[copy.state]"></span>{{ stateWords(copy) }}</td>
                  <td class="number">{{ copy.in_flight ?? 0 }}</td>
                  <td class="number">{{ bytes(copy.memory) || "–" }}</td>
                </tr>
              </tbody>
            </table>
            <p v-else class="muted">No model is loaded here.</p>
            <p class="muted">Cached: {{ worker.cached.join(", ") || "nothing" }}</p>
          </li>
        </ul>
      </section>
    </section>`,
  setup() {
    const workers = shallowRef(null);
    const pools = shallowRef([]);
    const error = ref("");
    async function look() {
      try {
        [workers.value, pools.value] = await Promise.all([getAll("/workers"), getAll("/pools")]);
        error.value = "";
      } catch (problem) {
        error.value = problem.message;
      }
    }
    usePoll(look, () => LOOK_MS);
    const groups = computed(() => workers.value && grouped(workers.value, pools.value));
    return { groups, error, moods: MOODS, ago, bytes, plural, memoryWords, standing, stateWords, fleet, wayToAdd };
  },
};

function standing({ fresh, draining }) {
  if (!fresh) return { mood: "bad", words: "silent: gone, or cut off from the broker" };
  if (draining) return { mood: "busy", words: "draining: finishes what it runs, then ends" };
  return { mood: "good", words: "serving" };
}

function stateWords({ state, message }) {
  return message ? `${state}: ${message}` : state;
}

function memoryWords({ memory }) {
  return `${bytes(memory.used)} of ${bytes(memory.total)}`;
}

/** Pools in the catalog's order with their workers, then pools that only workers know of. */
function grouped(workers, pools) {
  const groups = new Map(pools.map(({ metadata, spec, status }) =>
    [metadata.name, { name: metadata.name, device: spec.device.type, status, workers: [] }]));
  for (const worker of workers) {
    if (!groups.has(worker.pool)) groups.set(worker.pool, { name: worker.pool, workers: [] });
    groups.get(worker.pool).workers.push(worker);
  }
  return [...groups.values()];
}
