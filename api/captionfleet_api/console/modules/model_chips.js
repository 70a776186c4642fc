// Choosing models: a check box each, with its state in words, device, speed and why it is not ready.
import { seconds } from "./words.js";

export const ModelChips = {
  props: { models: Array, chosen: Array },
  emits: ["update:chosen"],
  template: `
    <ul class="chips">
      <li v-for="model in models" :key="model.name">
        <label class="chip" :class="{ chosen: chosen.includes(model.name) }">
          <input type="checkbox" :checked="chosen.includes(model.name)" @change="toggle(model.name)"
              :value="model.name">
          <span class="chip-words">
            <span class="chip-name">{{ model.title }}</span>
            <span class="chip-facts"><span class="dot" :class="model.mood"></span>{{ model.phase }}<template
              v-if="model.device"> · {{ model.device }}</template><template
              v-if="model.speed !== null"> · {{ seconds(model.speed) }} per picture</template></span>
            <span v-if="model.mood !== 'good'" class="chip-why">{{ model.message }}</span>
          </span>
        </label>
      </li>
    </ul>`,
  methods: {
    seconds,
    toggle(name) {
      const chosen = this.chosen.includes(name)
        ? this.chosen.filter((each) => each !== name)
        : [...this.chosen, name];
      this.$emit("update:chosen", chosen);
    },
  },
};
