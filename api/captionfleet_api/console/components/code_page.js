// A model of one's own: code in, the check beside its lines, arguments, versions and the way back.
import { computed, onMounted, onUnmounted, ref, shallowRef, watch } from "vue";
import { CodeDraft } from "captionfleet-console/code_draft.js";
import { CodeEditor } from "captionfleet-console/code_editor.js";
import { codeOf, EXAMPLE } from "captionfleet-console/code_files.js";
import { CodeVersions } from "captionfleet-console/code_versions.js";
import { fleet } from "captionfleet-console/fleet.js";
import { Icon } from "captionfleet-console/icon.js";
import { KwargsRows } from "captionfleet-console/kwargs_rows.js";
import { described } from "captionfleet-console/models.js";
import { note } from "captionfleet-console/notes.js";
import { usePoll } from "captionfleet-console/poll.js";
import { get, send } from "captionfleet-console/rest.js";
import { sentence } from "captionfleet-console/words.js";

const LOOK_MS = 2000;
const ELSEWHERE = "Code that came with a manifest is changed there.";

export default {
  props: { model: String },
  components: { CodeEditor, CodeVersions, Icon, KwargsRows },
  template: `
    <section class="list code-page" :class="{ over }" aria-labelledby="code-title">
      <header class="code-head">
        <p><a href="/models">Models</a></p>
        <h1 id="code-title">{{ state.model || "Your own model" }}</h1>
        <p v-if="shown" class="state"><span class="dot" :class="shown.mood"></span>{{ shown.phase }}</p>
        <p v-if="shown" class="muted">{{ shown.message }}</p>
        <p v-if="shown?.failure && shown.mood === 'bad'" class="failure">{{ shown.failure.reason }}:
          {{ shown.failure.message }}</p>
        <p v-if="!state.model" class="muted">A Python class that extends <code>CustomModel</code> becomes a model.
          It is read and checked here, and runs on the workers alone, with their rights.</p>
      </header>
      <p v-if="closed" class="banner warn" role="status">{{ sentence(closed) }}.</p>
      <p v-if="error" class="failure" role="alert">{{ error }}</p>
      <p v-if="state.gone" class="banner warn" role="status">There is no such model any more; its versions were kept.
        Upload its code, or roll back to one of them, to have it again.</p>
      <form v-if="state.model ? versions : !closed" class="code-form" @submit.prevent="submit">
        <div class="code-left">
          <header class="code-tabs">
            <div v-if="state.files.length" role="group" aria-label="Files" class="tabs">
              <span v-for="(file, at) in state.files" :key="file.path" class="tab"><button type="button" class="small"
                  :aria-pressed="state.open === at ? 'true' : 'false'" @click="state.open = at">{{ file.path }}<span
                  v-if="troubles(file.path).length" class="failure"> · {{ troubles(file.path).length }}</span></button><button
                  v-if="state.files.length > 1 && !closed" type="button" class="quiet" :aria-label="'Remove ' + file.path"
                  @click="draft.remove(at)"><Icon name="close" /></button></span>
            </div>
            <span class="push"></span>
            <label v-if="!closed" class="button"><Icon name="plus" /> Choose files<input type="file" class="unseen"
                multiple accept=".py,text/x-python" @change="choose"></label>
          </header>
          <CodeEditor v-if="file" ref="editor" v-model="file.content" :label="'Code of ' + file.path"
              :problems="troubles(file.path)" :readonly="Boolean(closed)" />
          <div v-else class="drop-hint">
            <Icon name="code" />
            <p><b>Drop a Python file anywhere on this page</b></p>
            <p class="muted">or choose it, or paste its text. Files that it imports may come along, 100 kB each.</p>
            <p><button type="button" @click="start">Start from an example</button></p>
          </div>
        </div>
        <div v-if="state.files.length" class="code-right">
          <div v-if="!closed" class="check" role="status" aria-live="polite">
            <p v-if="state.checking" class="muted"><span class="dot busy"></span>Checking…</p>
            <p v-else-if="state.check" class="fine"><Icon name="check" /> Checked: <code>{{ state.check.entrypoint }}</code>
              can be the model <b>{{ state.check.name }}</b>.</p>
            <template v-else>
              <p v-if="state.refusal" class="failure">{{ sentence(state.refusal) }}</p>
              <p v-if="state.problems.length" class="failure"><b>{{ state.problems.length === 1 ? "One thing" :
                state.problems.length + " things" }} to correct</b></p>
              <ul class="places">
                <li v-for="problem in state.problems"><button v-if="problem.line" type="button" class="place"
                    @click="show(problem)">{{ problem.file }}, line {{ problem.line }}</button><b
                    v-else>{{ problem.file || problem.field }}</b> {{ problem.message }}</li>
              </ul>
            </template>
          </div>
          <label v-if="!state.model"><span class="label">Name <span class="muted">(optional)</span></span>
            <input type="text" v-model="state.name" maxlength="40" :placeholder="state.check?.name || 'as the file'"></label>
          <label><span class="label">Class <span class="muted">(optional)</span></span>
            <input type="text" v-model="state.entrypoint" maxlength="253" :readonly="Boolean(closed)"
                :placeholder="state.check?.entrypoint || 'module:Class'"></label>
          <KwargsRows :rows="state.rows" :takes="takes" :problems="state.problems" :readonly="Boolean(closed)" />
          <footer v-if="!closed">
            <button type="submit" class="primary" :aria-disabled="ready ? 'false' : 'true'">{{ label }}</button>
            <kbd class="wide-only" v-if="ready" title="Ctrl+Enter">Ctrl ⏎</kbd>
          </footer>
        </div>
      </form>
      <CodeVersions v-if="versions?.length" :model="state.model" :versions="versions" :readonly="Boolean(closed)"
          :busy="state.sending" @rollback="rollBack" @edit="edit" />
    </section>`,
  setup(props) {
    const draft = new CodeDraft(props.model);
    const { state } = draft;
    const versions = shallowRef(null);
    const shown = shallowRef(null);
    const error = ref("");
    const over = ref(false);
    const editor = ref(null);
    const takes = shallowRef([]);
    let seen; // generation of the model when its versions were read
    const door = () => `/models/custom/${encodeURIComponent(state.model)}`;
    watch(() => state.check, (check) => { if (check) takes.value = check.arguments; });

    /** Only when the model may stand for another one: all of them are much to send. */
    async function lookAtVersions(generation) {
      if (state.base && versions.value && generation === seen) return;
      versions.value = (await get(`${door()}/versions`)).items;
      seen = generation;
      if (!state.base) await draft.loadNewest(versions.value[0].number);
    }
    async function look() {
      if (!state.model) return;
      try {
        const manifest = await get(`/models/${encodeURIComponent(state.model)}`).catch(absent);
        await lookAtVersions(manifest?.metadata.generation);
        state.gone = !manifest;
        shown.value = manifest && described(manifest);
        error.value = "";
      } catch (problem) {
        error.value = problem.status === 404 ? `${sentence(problem.message)}. ${ELSEWHERE}` : problem.message;
      }
    }
    usePoll(look, () => LOOK_MS);

    async function take(files) {
      const found = await codeOf(files);
      for (const refused of found.refused) note(refused, "bad");
      draft.add(found.files);
    }
    async function submit() {
      if (!ready.value) return;
      const version = await draft.submit();
      if (version) await arrived(version, `Version ${version.number} was taken. A worker loads it now.`);
    }
    async function rollBack(number) {
      state.sending = true;
      try {
        const version = await send("POST", `${door()}/rollback`, { version: number });
        await arrived(version, `Version ${version.number} runs the code of version ${number} again.`);
      } catch (problem) {
        note(problem.message, "bad");
      } finally {
        state.sending = false;
      }
    }
    async function arrived(version, words) {
      if (!state.model) history.replaceState(null, "", `/models/${encodeURIComponent(version.model)}/code`);
      Object.assign(state, { model: version.model, name: version.model });
      await draft.loadNewest(version.number);
      seen = null;
      note(words);
      await look();
    }
    async function edit(number) {
      try {
        draft.take(await get(`${door()}/versions/${number}`));
        document.querySelector("#code-title").scrollIntoView();
      } catch (problem) {
        note(problem.message, "bad");
      }
    }
    async function show({ file, line }) {
      state.open = Math.max(0, state.files.findIndex((each) => each.path === file));
      setTimeout(() => editor.value?.show(line));
    }
    const ready = computed(() => Boolean(state.check && draft.change.value && !state.sending && !state.checking));
    const closed = computed(() => (fleet.value?.custom_code?.taken === false ? fleet.value.custom_code.message : ""));
    const next = computed(() => (versions.value?.[0]?.number || 0) + 1);
    const label = computed(() => labelOf(draft.change.value, next.value, state.sending));
    listenForFiles({ take, submit, over, isOpen: () => !closed.value, isEmpty: () => !state.files.length,
      takeText: (text) => draft.add([{ path: "my_model.py", content: text }]) });
    return {
      draft, state, versions, shown, error, over, editor, takes, closed, ready, label, submit, rollBack, edit,
      show, sentence,
      file: computed(() => state.files[state.open]),
      troubles: (path) => state.problems.filter((each) => each.file === path),
      start: () => draft.add([{ path: "brightness.py", content: EXAMPLE }]),
      choose: ({ target }) => take([...target.files]).then(() => { target.value = ""; }),
    };
  },
};

function labelOf(change, next, sending) {
  if (sending) return "Sending…";
  if (change === "new") return "Upload";
  if (change === "code") return `Upload as version ${next}`;
  return change === "kwargs" ? `Save arguments as version ${next}` : "Nothing has changed";
}

/** Drops and pastes anywhere on the page, and Ctrl+Enter. */
function listenForFiles({ take, takeText, submit, over, isOpen, isEmpty }) {
  const hold = (event) => {
    if (!isOpen() || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    over.value = event.type === "dragover";
    if (event.type === "drop") take([...event.dataTransfer.files]);
  };
  const paste = (event) => {
    const files = [...(event.clipboardData?.files || [])];
    const typing = event.target.closest?.("input, textarea");
    if (!isOpen() || typing) return;
    if (files.length) take(files);
    else if (isEmpty()) takeText(event.clipboardData.getData("text"));
  };
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
  };
  const heard = { dragover: hold, dragleave: hold, drop: hold, paste, keydown: keys };
  onMounted(() => Object.entries(heard).forEach(([name, act]) => document.addEventListener(name, act)));
  onUnmounted(() => Object.entries(heard).forEach(([name, act]) => document.removeEventListener(name, act)));
}

function absent(problem) {
  if (problem.status === 404) return null;
  throw problem;
}
