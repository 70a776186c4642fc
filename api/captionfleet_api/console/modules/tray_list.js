// The chosen pictures as small tiles: progress, why one was rejected, which are equal.
import { computed, ref } from "vue";
import { Icon } from "./icon.js";
import { plural } from "./words.js";

const SHOWN = 240;

export const TrayList = {
  components: { Icon },
  props: { tray: Object },
  template: `
    <ul class="tiles" aria-label="Chosen pictures">
      <li v-for="item in items" :key="item.key" class="tile" :class="item.state">
        <span class="tile-picture"><img v-if="!item.broken" :src="item.thumbnail" alt="" loading="lazy"
            decoding="async" @error="item.broken = true"><span v-else aria-hidden="true">
              <Icon name="picture" /></span></span>
        <span class="tile-name">{{ item.name }}</span>
        <progress v-if="item.state === 'sending' && item.progress < 1" max="1" :value="item.progress"
            :aria-label="'Upload of ' + item.name"></progress>
        <span v-else-if="item.state === 'sending'" class="muted">checking</span>
        <span v-else-if="item.state === 'waiting'" class="muted">waiting</span>
        <span v-else-if="item.state === 'rejected'" class="failure">{{ item.message }}</span>
        <span v-else-if="item.twin === 'same'" class="muted">here twice: counts once</span>
        <span v-else-if="item.twin" class="muted">same picture as {{ item.twin }}</span>
        <button v-if="item.state === 'rejected' && item.file" type="button" class="small"
            @click="tray.retry(item)">Retry</button>
        <button type="button" class="tile-remove" :aria-label="'Remove ' + item.name"
            @click="tray.remove(item)"><Icon name="close" /></button>
      </li>
    </ul>
    <p v-if="beyond"><button type="button" @click="all = true">Show
      {{ plural(beyond, "more picture") }}</button></p>`,
  setup(props) {
    const all = ref(false);
    // What was rejected comes first: it must not hide behind ten thousand good ones.
    const items = computed(() => {
      const { items: every, count } = props.tray;
      const shown = all.value ? every : every.slice(0, SHOWN);
      const rejected = count.rejected ? every.filter((item) => item.state === "rejected") : [];
      return [...rejected, ...shown.filter((item) => item.state !== "rejected")];
    });
    return { all, items, plural, beyond: computed(() => props.tray.items.length - items.value.length) };
  },
};
