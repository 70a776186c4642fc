// The models of one worker: what each does there, what was asked of it, and what may be asked.
import { computed, reactive, ref } from "vue";
import { DownloadBar } from "./download_bar.js";
import { Menu } from "./menu.js";
import { modelsOf, refusals, WISHES } from "./override_wishes.js";
import { send } from "./rest.js";
import { Sheet } from "./sheet.js";
import { bytes } from "./words.js";

const MOODS = { ready: "good", loading: "busy", downloading: "busy", unloading: "busy", failed: "bad" };

export const WorkerModels = {
  components: { DownloadBar, Menu, Sheet },
  props: { worker: Object, models: Array },
  emits: ["asked"],
  template: `
    <div class="worker-models">
      <table v-if="rows.length">
        <thead class="unseen"><tr><th scope="col">Model</th><th scope="col">Work and what to do</th></tr></thead>
        <tbody>
          <tr v-for="row in rows" :key="row.model">
            <td>
              <b>{{ row.model }}</b>
              <div v-for="copy in row.copies">
                <span class="dot" :class="moods[copy.state]"></span>{{ stateWords(copy) }}
                <DownloadBar v-if="copy.download" :of="copy.download" :name="row.model" />
              </div>
              <div v-if="!row.copies.length" class="muted">{{ row.cached ? "not loaded; its files are here" : "not here" }}</div>
              <div v-if="row.asked" :class="row.asked.refused ? 'failure' : 'muted'" aria-live="polite">
                <span class="badge">asked: {{ row.asked.state }}</span> {{ row.asked.message }}</div>
            </td>
            <td class="number">
              <Menu :label="'What to do with ' + row.model + ' on ' + worker.id" text="Ask…">
                <button v-for="wish in wishes" type="button" role="menuitem" class="wish"
                        :aria-disabled="!!row.refused[wish.name]" @click="begin(row, wish, $event)">
                  <b>{{ wish.name }}</b><span>{{ row.refused[wish.name] || wish.told }}</span>
                </button>
              </Menu>
              <div v-if="row.inFlight" class="muted">{{ row.inFlight }} in flight</div>
              <div v-if="row.memory" class="muted">{{ bytes(row.memory) }}</div>
            </td>
          </tr>
        </tbody>
      </table>
      <p v-else class="muted">No model is here.</p>
      <p v-if="others.length">
        <label>Another model: <select :aria-label="'Another model for ' + worker.id" @change="pick">
          <option value="">choose one</option>
          <option v-for="name in others" :value="name">{{ name }}</option>
        </select></label>
      </p>
      <p v-if="error" class="failure" role="alert">{{ error }}</p>
      <Sheet v-if="evicting" :title="'Evict ' + evicting + ' from ' + worker.id + '?'" @close="evicting = ''"
             v-slot="{ close }">
        <p>Its copy is unloaded once it has finished what it runs, and its downloads are deleted from this
          worker's cache. It is neither loaded nor downloaded here again until you release it.</p>
        <footer class="choices">
          <button type="button" @click="close()">Keep it</button>
          <button type="button" class="danger" @click="ask(evicting, 'absent'); close()">Evict it</button>
        </footer>
      </Sheet>
    </div>`,
  setup(props, { emit }) {
    const picked = reactive([]);
    const error = ref("");
    const evicting = ref("");
    const rows = computed(() => modelsOf(props.worker, picked).map((model) => row(props.worker, model)));
    const others = computed(() => props.models.filter((name) => !rows.value.some((each) => each.model === name)));
    async function ask(model, state) {
      const path = `/workers/${encodeURIComponent(props.worker.id)}/overrides/${encodeURIComponent(model)}`;
      try {
        await (state ? send("PUT", path, { state }) : send("DELETE", path));
        error.value = "";
      } catch (problem) {
        error.value = problem.message;
      }
      emit("asked");
    }
    function begin(row, wish, event) {
      if (row.refused[wish.name]) {
        event.stopPropagation(); // the menu stays open: its words say why
      } else if (wish.state === "absent") {
        evicting.value = row.model;
      } else {
        ask(row.model, wish.state);
      }
    }
    function pick(event) {
      if (event.target.value) picked.push(event.target.value);
    }
    return { rows, others, error, evicting, wishes: WISHES, moods: MOODS, ask, begin, pick, bytes, stateWords };
  },
};

function row(worker, model) {
  const copies = worker.copies.filter((copy) => copy.model === model);
  const sum = (what) => copies.reduce((total, copy) => total + (copy[what] ?? 0), 0);
  return {
    model, copies, asked: worker.overrides[model], cached: worker.cached.includes(model),
    inFlight: sum("in_flight"), memory: sum("memory"), refused: refusals(worker, model),
  };
}

function stateWords({ state, message }) {
  return message ? `${state}: ${message}` : state;
}
