// The versions of a model's code: what each changed, and the way back to it.
import { ref, watch } from "vue";
import { DiffView } from "./diff_view.js";
import { get } from "./rest.js";
import { ago, clock } from "./words.js";

export const CodeVersions = {
  components: { DiffView },
  props: { model: String, versions: Array, readonly: Boolean, busy: Boolean },
  emits: ["rollback", "edit"],
  template: `
    <section class="versions" aria-labelledby="versions-title">
      <h2 id="versions-title">Versions</h2>
      <ol>
        <li v-for="version in versions" :key="version.number" class="version">
          <header>
            <h3>Version {{ version.number }}</h3>
            <span v-if="version.current" class="badge">in use</span>
            <span v-else-if="!version.applied_at" class="badge warn">not known to have taken effect</span>
            <span>{{ version.note }}</span>
            <span class="muted">by {{ version.author }}, <time :datetime="version.created_at"
              :title="clock(version.created_at)">{{ ago(version.created_at) }}</time></span>
            <span class="push"></span>
            <code class="muted" :title="'sha256 ' + version.sha256">{{ version.sha256.slice(0, 12) }}</code>
          </header>
          <p v-if="Object.keys(version.kwargs).length" class="muted">{{ words(version.kwargs) }}</p>
          <p class="version-tools">
            <button type="button" class="small" :aria-expanded="open === version.number"
                @click="toggle(version)">What changed</button>
            <button v-if="!readonly" type="button" class="small" @click="$emit('edit', version.number)">Open in the
              editor</button>
            <button v-if="!readonly && !version.current" type="button" class="small" :disabled="busy"
                @click="$emit('rollback', version.number)">Roll back to version {{ version.number }}</button>
          </p>
          <template v-if="open === version.number">
            <p v-if="error" class="failure" role="alert">{{ error }}</p>
            <DiffView v-else-if="diff" :text="diff" :label="'What version ' + version.number + ' changed'" />
            <p v-else-if="diff === ''" class="muted">The same as the version before.</p>
          </template>
        </li>
      </ol>
    </section>`,
  setup(props) {
    const open = ref(0);
    const diff = ref(null);
    const error = ref("");
    async function toggle({ number }) {
      open.value = open.value === number ? 0 : number;
      if (!open.value) return;
      diff.value = null;
      error.value = "";
      try {
        const found = await get(`/models/custom/${encodeURIComponent(props.model)}/versions/${number}`);
        if (open.value === number) diff.value = found.diff;
      } catch (problem) {
        error.value = problem.message;
      }
    }
    watch(() => props.model, () => { open.value = 0; });
    return { open, diff, error, toggle, ago, clock, words };
  },
};

function words(kwargs) {
  return Object.entries(kwargs).map(([name, value]) => `${name} = ${value}`).join(", ");
}
