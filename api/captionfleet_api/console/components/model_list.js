// All models: state, message in words, where cached and loaded, speed, memory, manifest.
import { ref } from "vue";
import { DemoOffers } from "captionfleet-console/demo_offers.js";
import { useModels } from "captionfleet-console/models.js";
import { usePoll } from "captionfleet-console/poll.js";
import { Sheet } from "captionfleet-console/sheet.js";
import { ago, bytes, clock, seconds } from "captionfleet-console/words.js";
import { yaml } from "captionfleet-console/yaml.js";

const LOOK_MS = 2000;

export default {
  components: { DemoOffers, Sheet },
  template: `
    <section class="list" aria-labelledby="models-title">
      <h1 id="models-title">Models</h1>
      <p v-if="error" class="failure" role="alert">{{ error }}</p>
      <p v-if="!models && !error" class="muted">Reading the models…</p>
      <DemoOffers />
      <div v-if="models && !models.length" class="empty"><p><b>No model yet.</b></p><p>Put a manifest into the catalog folder, or run <code>captionfleet add OWNER/REPO</code>.</p></div>
      <ul v-if="models?.length" class="cards">
        <li v-for="model in models" :key="model.name" class="card">
          <header><h2>{{ model.title }}</h2><code v-if="model.title !== model.name" class="muted">{{ model.name }}</code>
            <span class="push"></span><span class="state"><span class="dot" :class="model.mood"></span>{{ model.phase }}</span></header>
          <p>{{ model.message }}</p>
          <p v-if="model.failure && model.mood === 'bad'" class="failure">{{ model.failure.reason }} on {{ model.failure.worker }}, {{ ago(model.failure.time) }}: {{ model.failure.message }}
            <template v-if="model.failure.nextRetryTime">Next try {{ clock(model.failure.nextRetryTime) }}.</template></p>
          <dl class="facts">
            <template v-if="model.source"><dt>Source</dt><dd>{{ model.source }}</dd></template>
            <dt>Speed</dt><dd>{{ model.speed === null ? "not measured yet" : seconds(model.speed) + " per picture" }}<template v-if="model.rate !== null">, {{ model.rate.toFixed(model.rate < 10 ? 1 : 0) }} pictures/s at best</template></dd>
            <dt>Memory</dt><dd>{{ model.memory === null ? "not measured yet" : bytes(model.memory) }}<template v-if="model.loadSeconds !== null">, loads in {{ seconds(model.loadSeconds) }}</template></dd>
            <dt>Loaded</dt><dd><template v-if="!model.copies.length">nowhere</template>
              <ul v-else class="copies"><li v-for="copy in model.copies"><b>{{ copy.worker }}</b> ({{ copy.device }}): {{ copy.state }}<template v-if="copy.message">, {{ copy.message }}</template></li></ul></dd>
            <dt>Cached</dt><dd>{{ model.cachedOn.join(", ") || "nowhere" }}</dd>
            <template v-if="model.queue"><dt>Queue</dt><dd>{{ model.queue.total ? model.queue.total + " waiting" + (model.queue.wait ? ", about " + model.queue.wait : "") : "empty" }}</dd></template>
            <template v-if="model.revision"><dt>Revision</dt><dd><code>{{ model.revision }}</code></dd></template>
          </dl>
          <footer><button type="button" class="small" @click="shown = model.name">Manifest</button></footer>
        </li>
      </ul>
      <Sheet v-if="manifest()" :title="'Manifest of ' + shown" wide @close="shown = ''"><pre class="manifest" tabindex="0">{{ manifest() }}</pre></Sheet>
    </section>`,
  setup() {
    const { models, error, look } = useModels();
    const shown = ref("");
    usePoll(look, () => LOOK_MS);
    const manifest = () => {
      const model = shown.value && models.value?.find((each) => each.name === shown.value);
      return model ? yaml(model.manifest) : "";
    };
    return { models, error, shown, manifest, ago, bytes, clock, seconds };
  },
};
