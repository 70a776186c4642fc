// The home page: drop pictures, choose models, perhaps a prompt, and caption.
import { computed, onMounted, onUnmounted, ref, watch } from "vue";
import { DemoOffers } from "captionfleet-console/demo_offers.js";
import { filesOf, filesOfInput } from "captionfleet-console/files.js";
import { fleet } from "captionfleet-console/fleet.js";
import { wayToAdd } from "captionfleet-console/fleet_words.js";
import { Icon } from "captionfleet-console/icon.js";
import { ModelChips } from "captionfleet-console/model_chips.js";
import { useModels } from "captionfleet-console/models.js";
import { note } from "captionfleet-console/notes.js";
import { usePoll } from "captionfleet-console/poll.js";
import { recall, remember } from "captionfleet-console/preferences.js";
import { NO_PROMPT, PromptField } from "captionfleet-console/prompt_field.js";
import { sampleFiles } from "captionfleet-console/samples.js";
import { Submission } from "captionfleet-console/submission.js";
import { Tray } from "captionfleet-console/tray.js";
import { TrayList } from "captionfleet-console/tray_list.js";
import { plural } from "captionfleet-console/words.js";

const LOOK_MS = 2000;

export default {
  components: { DemoOffers, Icon, ModelChips, PromptField, TrayList },
  template: `
    <form class="composer" @submit.prevent="submit">
      <section class="pictures" :class="{ over }" aria-labelledby="pictures-title">
        <header><h1 id="pictures-title">Pictures</h1>
          <p v-if="tray.items.length" aria-live="polite">{{ countWords }}</p>
          <span class="push"></span>
          <label class="button"><Icon name="plus" /> Choose files<input type="file" class="unseen" multiple
              accept="image/*" @change="chooseFiles"></label>
          <label class="button wide-only">Choose a folder<input type="file" class="unseen" webkitdirectory
              @change="chooseFiles"></label>
          <button v-if="tray.items.length" type="button" class="quiet" @click="tray.clear()">Remove all</button>
        </header>
        <TrayList v-if="tray.items.length" :tray="tray" />
        <div v-else class="drop-hint">
          <Icon name="picture" />
          <p><b>Drop pictures anywhere on this page</b></p>
          <p class="muted">or paste them, or choose files or a whole folder. They are sent at once and stay on this
            fleet.</p>
          <p v-if="fleet?.demo"><button type="button" @click="takeSamples">Try the sample pictures</button></p>
        </div>
      </section>
      <section class="asking" aria-labelledby="models-title">
        <header><h2 id="models-title">Models</h2><span class="push"></span>
          <button type="button" class="quiet" v-if="models?.length" @click="chooseAll">Choose all</button></header>
        <p v-if="error && !models" class="failure" role="alert">{{ error }}</p>
        <p v-else-if="!models" class="muted">Asking which models there are…</p>
        <p v-else-if="!models.length" class="muted">There is no model yet. {{ wayToAdd("CaptionModel", fleet) }},
          or run <code>captionfleet add OWNER/REPO</code>.</p>
        <ModelChips v-else :models="models" v-model:chosen="chosen" />
        <DemoOffers />
        <PromptField :models="chosenModels" v-model="prompt" />
        <label><span class="label">Name <span class="muted">(optional)</span></span>
          <input type="text" v-model="name" maxlength="200" :placeholder="suggestion"></label>
        <p v-if="submission.problem" class="failure" role="alert">{{ submission.problem }}</p>
        <footer>
          <button type="submit" class="primary" :aria-disabled="ready ? 'false' : 'true'">{{ label }}</button>
          <kbd class="wide-only" v-if="ready" title="Ctrl+Enter">Ctrl ⏎</kbd>
        </footer>
      </section>
    </form>`,
  setup() {
    const tray = new Tray();
    const asking = new Submission();
    const { models, error, look } = useModels();
    const chosen = ref(recall("models", null) ?? []);
    const prompt = ref(NO_PROMPT);
    const name = ref("");
    const count = tray.count;
    usePoll(look, () => LOOK_MS);
    const chosenModels = computed(() => (models.value || []).filter((m) => chosen.value.includes(m.name)));
    const suggestion = computed(() => suggestedName(tray.items));
    const ready = computed(() => count.usable && !count.moving && chosenModels.value.length && !asking.state.sending);
    watch(models, (known) => {
      if (known?.length && recall("models", null) === null) chooseAll();
    });
    watch(chosen, (names) => remember("models", names));
    function chooseAll() {
      const usable = models.value.filter((m) => m.mood !== "bad" && m.mood !== "off");
      chosen.value = usable.map((m) => m.name);
    }
    async function submit() {
      if (!ready.value) return;
      const job = await asking.submit({
        tray, prompt: prompt.value, name: name.value || suggestion.value,
        models: chosenModels.value, chosen: chosenModels.value.map((m) => m.name),
      });
      if (!job) return;
      tray.forgetDraft();
      window.location.href = `/jobs/${encodeURIComponent(job.id)}`;
    }
    const { over, chooseFiles, take } = useFiles(tray, submit);
    const takeSamples = () => take(sampleFiles());
    onUnmounted(() => tray.close());
    return {
      tray, models, error, chosen, prompt, name, count, chosenModels, suggestion, ready, over, fleet, wayToAdd,
      submission: asking.state, chooseAll, chooseFiles, takeSamples, submit,
      countWords: computed(() => countWords(count)),
      label: computed(() => label(count, chosenModels.value.length, asking.state.sending)),
    };
  },
};

/** Pictures come by drop, paste and file dialog; Ctrl+Enter sends. All on the whole page. */
function useFiles(tray, submit) {
  const over = ref(false);
  /** `gathering` is a promise of {files, skipped}. */
  async function take(gathering) {
    const { files, skipped } = await gathering.catch((error) => {
      note(`The files could not be read: ${error.message}`, "bad");
      return { files: [], skipped: 0 };
    });
    const again = tray.add(files);
    const parts = [];
    if (skipped) parts.push(`Left out ${plural(skipped, "file")} that ${skipped === 1 ? "is" : "are"} no picture.`);
    if (again) parts.push(`${plural(again, "picture")} ${again === 1 ? "was" : "were"} here already.`);
    if (parts.length) note(parts.join(" "));
  }
  const carries = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const handlers = {
    dragover(event) {
      if (!carries(event)) return;
      event.preventDefault();
      over.value = true;
    },
    dragleave(event) {
      if (!event.relatedTarget) over.value = false;
    },
    drop(event) {
      if (!carries(event)) return;
      event.preventDefault();
      over.value = false;
      take(filesOf(event.dataTransfer));
    },
    paste(event) {
      if (event.clipboardData?.files.length) take(filesOf(event.clipboardData));
    },
    keydown(event) {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
    },
  };
  onMounted(() => Object.entries(handlers).forEach(([name, act]) => document.addEventListener(name, act)));
  onUnmounted(() => Object.entries(handlers).forEach(([name, act]) => document.removeEventListener(name, act)));
  function chooseFiles({ target }) {
    take(Promise.resolve(filesOfInput(target)));
    target.value = "";
  }
  return { over, take, chooseFiles };
}

/** A name that tells this set of pictures from the next: their folder, or the first of them. */
function suggestedName(items) {
  const usable = items.filter((item) => item.state !== "rejected");
  if (!usable.length) return "";
  const folders = new Set(usable.map(({ name }) => name.split("/").slice(0, -1).join("/")));
  const [folder] = folders;
  if (folders.size === 1 && folder) return folder.slice(-200);
  const first = usable[0].name.slice(-180);
  return usable.length === 1 ? first : `${first} and ${(usable.length - 1).toLocaleString("en-US")} more`;
}

function countWords({ usable, moving, rejected, twins }) {
  const parts = [`${usable.toLocaleString("en-US")} ready`];
  if (moving) parts.push(`${moving.toLocaleString("en-US")} on the way`);
  if (rejected) parts.push(`${rejected} rejected`);
  if (twins) parts.push(`${twins} here twice`);
  return parts.join(", ");
}

function label({ usable, moving }, models, sending) {
  if (sending) return "Sending…";
  if (moving) return `Sending ${plural(moving, "picture")}…`;
  if (!usable) return "Add pictures to begin";
  if (!models) return "Choose a model";
  return `Caption ${plural(usable, "picture")} with ${plural(models, "model")}`;
}
