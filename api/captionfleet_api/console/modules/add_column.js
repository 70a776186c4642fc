// A further column for a job that is there: another model, another prompt, or both.
import { computed, onMounted, ref } from "vue";
import { ModelChips } from "./model_chips.js";
import { useModels } from "./models.js";
import { NO_PROMPT, PromptField, promptsOf } from "./prompt_field.js";
import { Sheet } from "./sheet.js";
import { note } from "./notes.js";
import { plural } from "./words.js";

export const AddColumn = {
  components: { ModelChips, PromptField, Sheet },
  props: { state: Object },
  emits: ["close"],
  template: `
    <Sheet title="Add a column" wide @close="$emit('close')">
      <template #default="{ close }">
        <form @submit.prevent="add(close)" @keydown.ctrl.enter.prevent="add(close)">
          <p class="muted">The same pictures, seen by another model or asked another way.</p>
          <p v-if="error" class="failure" role="alert">{{ error }}</p>
          <ModelChips :models="models || []" v-model:chosen="chosen" />
          <PromptField :models="chosenModels" v-model="prompt" />
          <footer><button type="submit" class="primary"
              :aria-disabled="!chosen.length || sending ? 'true' : 'false'">{{ label }}</button></footer>
        </form>
      </template>
    </Sheet>`,
  setup(props) {
    const { models, error: listError, look } = useModels();
    const chosen = ref([]);
    const prompt = ref(NO_PROMPT);
    const problem = ref("");
    const sending = ref(false);
    const chosenModels = computed(() => (models.value || []).filter((m) => chosen.value.includes(m.name)));
    onMounted(look);
    async function add(close) {
      if (!chosen.value.length || sending.value) return;
      sending.value = true;
      try {
        const prompts = promptsOf(prompt.value, chosenModels.value);
        await props.state.addColumns({ models: chosen.value, ...(prompts.length ? { prompts } : {}) });
        note(`Added ${plural(chosen.value.length, "column")}.`);
        close();
      } catch (refused) {
        problem.value = refused.message;
      } finally {
        sending.value = false;
      }
    }
    return {
      models, chosen, prompt, sending, chosenModels, add,
      error: computed(() => problem.value || listError.value),
      label: computed(() => chosen.value.length ? `Add ${plural(chosen.value.length, "column")}` : "Choose a model"),
    };
  },
};
