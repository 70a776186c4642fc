// What a column comes to: captioned, failed, median seconds, median words, stars.
import { Icon } from "./icon.js";
import { seconds } from "./words.js";

export const ColumnFoot = {
  components: { Icon },
  props: { summary: Object },
  template: `
    <div v-if="summary" class="foot">
      <span><b>{{ summary.captioned }}</b> captioned</span>
      <span :class="{ bad: summary.failed }"><b>{{ summary.failed }}</b> failed</span>
      <span v-if="summary.median_seconds !== null"
          title="Median seconds per picture"><b>{{ seconds(summary.median_seconds) }}</b></span>
      <span v-if="summary.median_words !== null"
          title="Median words per caption"><b>{{ summary.median_words }}</b> words</span>
      <span class="stars" title="Stars"><Icon name="star" /> <b>{{ summary.starred }}</b><span
          class="unseen"> stars</span></span>
    </div>`,
  methods: { seconds },
};
