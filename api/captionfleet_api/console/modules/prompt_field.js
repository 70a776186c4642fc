// What the models are asked: a text, a preset by the name that all chosen models have it under, or, if
// neither is given, their own way.
import { computed } from "vue";

export const NO_PROMPT = { preset: "", text: "" };

export const PromptField = {
  props: { models: Array, modelValue: Object },
  emits: ["update:modelValue"],
  template: `
    <div class="prompt-field">
      <label><span class="label">Prompt <span class="muted">(optional)</span></span>
        <textarea rows="2" :value="shown" :placeholder="placeholder" maxlength="4096"
                  @input="$emit('update:modelValue', { preset: '', text: $event.target.value })"></textarea></label>
      <div v-if="offers.length" class="presets" role="group" aria-label="Prompts that the chosen models offer">
        <button v-for="offer in offers" :key="offer.label" type="button" class="small"
                :aria-pressed="pressed(offer) ? 'true' : 'false'" :title="offer.title"
                @click="$emit('update:modelValue', pressed(offer) ? NO_PROMPT : offer.prompt)">{{ offer.label }}</button>
      </div>
    </div>`,
  setup(props) {
    const current = computed(() => among(props.models, props.modelValue));
    return {
      NO_PROMPT,
      offers: computed(() => offersOf(props.models)),
      shown: computed(() => {
        const { preset, text } = current.value;
        return preset ? common(textsOf(preset, props.models)) : text;
      }),
      placeholder: computed(() => {
        if (current.value.preset) return `Each model is asked by its own “${current.value.preset}”`;
        return common(props.models.map((model) => model.ownPrompt).filter(Boolean)) ||
          "Empty: each model is asked in its own way";
      }),
      pressed: ({ prompt }) => prompt.preset === current.value.preset &&
        (prompt.preset !== "" || prompt.text === current.value.text),
    };
  },
};

/** The presets, each once where all the models have it, else once per model that does. Pure. */
function offersOf(models) {
  const offers = new Map();
  for (const { name, text, model } of models.flatMap((m) => m.prompts.map((p) => ({ ...p, model: m.name })))) {
    const texts = textsOf(name, models);
    const label = texts.length ? name : `${name} (${model})`;
    const prompt = texts.length ? { preset: name, text: common(texts) } : { preset: "", text };
    const title = prompt.text || models.map((each, index) => `${each.name}: ${texts[index]}`).join("\n");
    offers.set(label, { label, prompt, title });
  }
  return [...offers.values()];
}

/** What each of the models is asked under that name; nothing unless all have it. */
function textsOf(name, models) {
  const texts = models.map((model) => model.prompts.find((each) => each.name === name)?.text);
  return texts.includes(undefined) ? [] : texts;
}

function common(texts) {
  return new Set(texts).size === 1 ? texts[0] : "";
}

/** A preset that one of these models lacks is no more than its text. */
function among(models, prompt) {
  return prompt.preset && textsOf(prompt.preset, models).length ? prompt : { preset: "", text: prompt.text };
}

/** The `prompts` of a job. None: the models are asked in their own way. */
export function promptsOf(prompt, models) {
  const { preset, text } = among(models, prompt);
  if (preset) return [{ name: preset }];
  return text.trim() ? [{ text: text.trim() }] : [];
}
