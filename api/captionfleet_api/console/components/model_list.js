// All models: state, message in words, where cached and loaded, speed, memory, manifest.
import { ref } from "vue";
import { DemoOffers } from "captionfleet-console/demo_offers.js";
import { DownloadBar } from "captionfleet-console/download_bar.js";
import { fleet } from "captionfleet-console/fleet.js";
import { wayToAdd } from "captionfleet-console/fleet_words.js";
import { Icon } from "captionfleet-console/icon.js";
import { useModels } from "captionfleet-console/models.js";
import { usePoll } from "captionfleet-console/poll.js";
import { Sheet } from "captionfleet-console/sheet.js";
import { ago, bytes, clock, seconds } from "captionfleet-console/words.js";
import { yaml } from "captionfleet-console/yaml.js";

const LOOK_MS = 2000;

export default {
  components: { DemoOffers, DownloadBar, Icon, Sheet },
  template: `
    <section class="list" aria-labelledby="models-title">
      <header class="list-head"><h1 id="models-title">Models</h1><span class="push"></span>
        <a v-if="fleet?.custom_code?.taken" class="button" href="/models/code"><Icon name="code" /> Your own
          model</a></header>
      <p v-if="error" class="failure" role="alert">{{ error }}</p>
      <p v-if="!models && !error" class="muted">Reading the models…</p>
      <DemoOffers />
      <div v-if="models && !models.length" class="empty">
        <p><b>No model yet.</b></p>
        <p>{{ wayToAdd("CaptionModel", fleet) }}, or run <code>captionfleet add OWNER/REPO</code>.</p>
        <p v-if="fleet?.custom_code?.taken">Or <a href="/models/code">upload a model of your own</a>.</p>
      </div>
      <ul v-if="models?.length" class="cards">
        <li v-for="model in models" :key="model.name" class="card">
          <header>
            <h2>{{ model.title }}</h2>
            <code v-if="model.title !== model.name" class="muted">{{ model.name }}</code>
            <span class="push"></span>
            <span class="state"><span class="dot" :class="model.mood"></span>{{ model.phase }}</span>
          </header>
          <p>{{ model.message }}</p>
          <DownloadBar v-if="model.download" :of="model.download" :name="model.name" />
          <p v-if="model.failure && model.mood === 'bad'" class="failure">{{ failureWords(model.failure) }}</p>
          <dl class="facts">
            <template v-for="(fact, name) in facts(model)">
              <dt>{{ name }}</dt><dd>{{ fact }}</dd>
            </template>
          </dl>
          <footer><button type="button" class="small" @click="shown = model.name">Manifest</button>
            <a v-if="model.bringsCode" class="button small" :href="'/models/' + encodeURIComponent(model.name) + '/code'">Code
              and versions</a></footer>
        </li>
      </ul>
      <Sheet v-if="manifest()" :title="'Manifest of ' + shown" wide @close="shown = ''">
        <pre class="manifest" tabindex="0">{{ manifest() }}</pre>
      </Sheet>
    </section>`,
  setup() {
    const { models, error, look } = useModels();
    const shown = ref("");
    usePoll(look, () => LOOK_MS);
    const manifest = () => {
      const model = shown.value && models.value?.find((each) => each.name === shown.value);
      return model ? yaml(model.manifest) : "";
    };
    return { models, error, shown, manifest, facts, failureWords, fleet, wayToAdd };
  },
};

/** What is known of a model, by name, each in words; what is unknown for good is left out. */
function facts(model) {
  const { source, speed, rate, memory, loadSeconds, copies, cachedOn, queue, revision } = model;
  const best = rate === null ? "" : `, ${rate.toFixed(rate < 10 ? 1 : 0)} pictures/s at best`;
  const loads = loadSeconds === null ? "" : `, loads in ${seconds(loadSeconds)}`;
  const loaded = copies.map((copy) => `${copy.worker} (${copy.device}): ${copy.message || copy.state}`);
  const wait = queue?.wait ? `, about ${queue.wait}` : "";
  return {
    ...(source ? { Source: source } : {}),
    Speed: speed === null ? "not measured yet" : `${seconds(speed)} per picture${best}`,
    Memory: memory === null ? "not measured yet" : bytes(memory) + loads,
    Loaded: loaded.join("; ") || "nowhere",
    Cached: cachedOn.join(", ") || "nowhere",
    ...(queue ? { Queue: queue.total ? `${queue.total} waiting${wait}` : "empty" } : {}),
    ...(revision ? { Revision: revision } : {}),
  };
}

function failureWords({ reason, worker, time, message, nextRetryTime }) {
  const next = nextRetryTime ? ` Next try: ${clock(nextRetryTime)}.` : "";
  return `${reason} on ${worker}, ${ago(time)}: ${message}${next}`;
}
