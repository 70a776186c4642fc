// Pools and their workers: device, memory, and the models that are, or shall be, on each.
import { computed, ref, shallowRef } from "vue";
import { fleet } from "captionfleet-console/fleet.js";
import { wayToAdd } from "captionfleet-console/fleet_words.js";
import { usePoll } from "captionfleet-console/poll.js";
import { getAll } from "captionfleet-console/rest.js";
import { ago, bytes, fileBytes, plural } from "captionfleet-console/words.js";
import { WorkerModels } from "captionfleet-console/worker_models.js";

const LOOK_MS = 2000;
const BUSY_LOOK_MS = 700; // while something that was asked is on its way

export default {
  components: { WorkerModels },
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
            <p v-if="worker.disk" class="muted">Downloads take {{ fileBytes(worker.disk.cache_bytes) }}; there is
              room for {{ fileBytes(worker.disk.room_bytes) }} more.</p>
            <WorkerModels :worker="worker" :models="models" @asked="lookAgain" />
          </li>
        </ul>
      </section>
    </section>`,
  setup() {
    const workers = shallowRef(null);
    const pools = shallowRef([]);
    const models = shallowRef([]);
    const error = ref("");
    async function look() {
      try {
        const doors = ["/workers", "/pools", "/models"];
        const [heard, kept, known] = await Promise.all(doors.map((door) => getAll(door)));
        [workers.value, pools.value] = [heard, kept];
        models.value = known.map((each) => each.metadata.name);
        error.value = "";
      } catch (problem) {
        error.value = problem.message;
      }
    }
    const lookAgain = usePoll(look, () => (busy(workers.value ?? []) ? BUSY_LOOK_MS : LOOK_MS));
    const groups = computed(() => workers.value && grouped(workers.value, pools.value));
    return { groups, models, error, ago, plural, lookAgain, memoryWords, standing, fileBytes, fleet, wayToAdd };
  },
};

function standing({ fresh, draining }) {
  if (!fresh) return { mood: "bad", words: "silent: gone, or cut off from the broker" };
  if (draining) return { mood: "busy", words: "draining: finishes what it runs, then ends" };
  return { mood: "good", words: "serving" };
}

function busy(workers) {
  return workers.some(({ overrides }) => Object.values(overrides).some(({ done, refused }) => !done && !refused));
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
