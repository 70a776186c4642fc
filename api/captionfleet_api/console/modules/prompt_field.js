// What the models are asked: their own way if empty, or one of the presets of the chosen models.
import { computed } from "vue";

export const PromptField = {
  props: { models: Array, modelValue: String },
  emits: ["update:modelValue"],
  template: `
    <div class="prompt-field">
      <label><span class="label">Prompt <span class="muted">(optional)</span></span>
        <textarea rows="2" :value="modelValue" @input="$emit('update:modelValue', $event.target.value)"
                  :placeholder="own" maxlength="4096"></textarea></label>
      <div v-if="presets.length" class="presets" role="group" aria-label="Prompts that the chosen models offer">
        <button v-for="preset in presets" :key="preset.text" type="button" class="small"
                :aria-pressed="modelValue === preset.text ? 'true' : 'false'" :title="preset.text"
                @click="$emit('update:modelValue', modelValue === preset.text ? '' :
                  preset.text)">{{ preset.name }}</button>
      </div>
    </div>`,
  setup(props) {
    return {
      presets: computed(() => presetsOf(props.models)),
      own: computed(() => {
        const own = [...new Set(props.models.map((model) => model.ownPrompt).filter(Boolean))];
        return own.length === 1 ? own[0] : "Empty: each model is asked in its own way";
      }),
    };
  },
};

/** Each prompt once, however many of the models offer it. Pure. */
function presetsOf(models) {
  const known = new Map();
  for (const model of models) for (const preset of model.prompts) known.set(preset.text, preset);
  return [...known.values()];
}

/** The `prompts` of a job: none when the field is empty, with the preset's name if it is one. */
export function promptsOf(text, models) {
  const trimmed = text.trim();
  if (!trimmed) return [];
  const preset = presetsOf(models).find((each) => each.text === trimmed);
  return [{ name: preset?.name || "", text: trimmed }];
}
