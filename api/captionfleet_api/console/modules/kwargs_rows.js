// Arguments of the class, one row each: name and value, with what the class takes as offers.
import { computed, nextTick, ref } from "vue";
import { Icon } from "./icon.js";

export const KwargsRows = {
  components: { Icon },
  props: { rows: Array, takes: Array, problems: Array, readonly: Boolean },
  template: `
    <fieldset class="kwargs" ref="root" :disabled="readonly">
      <legend class="label">Arguments</legend>
      <p v-if="!rows.length" class="muted">None: the class gets its own defaults.</p>
      <div v-for="(row, at) in rows" class="kwarg">
        <input type="text" v-model="row.name" placeholder="name" maxlength="253" :aria-label="'Name of argument ' + (at + 1)">
        <span aria-hidden="true">=</span>
        <input type="text" v-model="row.value" :placeholder="defaultOf(row.name)" maxlength="253"
            :aria-label="'Value of ' + (row.name || 'argument ' + (at + 1))">
        <button type="button" class="quiet" :aria-label="'Remove ' + (row.name || 'argument ' + (at + 1))"
            @click="rows.splice(at, 1)"><Icon name="close" /></button>
        <p v-if="why(row.name)" class="failure">{{ why(row.name) }}</p>
      </div>
      <p v-for="problem in missing" class="failure">{{ problem.message }}</p>
      <p class="offers">
        <button v-for="each in offered" :key="each.name" type="button" class="small" @click="add(each)">
          <Icon name="plus" />{{ each.name }}<span v-if="each.default !== null" class="muted">= {{ each.default }}</span></button>
        <button type="button" class="small" @click="add()"><Icon name="plus" />Argument</button>
      </p>
    </fieldset>`,
  setup(props) {
    const root = ref(null);
    const named = computed(() => new Set(props.rows.map((row) => row.name.trim())));
    const about = (name) => props.problems.find((each) => each.field === `kwargs.${name.trim()}`);
    async function add(offer) {
      props.rows.push({ name: offer?.name || "", value: offer?.default || "" });
      await nextTick();
      const fields = root.value.querySelectorAll(".kwarg:last-of-type input");
      fields[offer ? 1 : 0]?.focus();
    }
    return {
      root, add,
      offered: computed(() => props.takes.filter((each) => !named.value.has(each.name))),
      missing: computed(() => props.problems.filter(({ field }) =>
        field.startsWith("kwargs.") && !named.value.has(field.slice("kwargs.".length)))),
      why: (name) => (name.trim() && about(name)?.message) || "",
      defaultOf: (name) => props.takes.find((each) => each.name === name.trim())?.default ?? "value",
    };
  },
};
