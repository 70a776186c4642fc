// One cell of the grid: waiting with its reason, running, a caption, or a failure with its reason.
import { computed } from "vue";
import { Icon } from "./icon.js";
import { Marked } from "./marked.js";
import { duration, seconds } from "./words.js";

export const Cell = {
  components: { Icon, Marked },
  props: { task: Object, q: String, eta: Number, active: Boolean },
  emits: ["star", "copy", "retry"],
  template: `
    <div v-if="!task" class="cell muted">…</div>
    <div v-else-if="task.state === 'captioned'" class="cell">
      <p class="caption" dir="auto"><Marked :text="task.caption.text" :q="q" /></p>
      <div class="cell-foot">
        <span class="muted">{{ seconds(task.caption.seconds) }}</span>
        <span v-if="task.caption.cached" class="badge faint"
            title="Known from an earlier job: same picture, model and prompt">cached</span>
        <span v-if="task.caption.finish === 'length'" class="badge warn"
            title="The model was not done: raise max_new_tokens to let it finish">cut at the token limit</span>
        <span class="cell-tools">
          <button type="button" class="tool" :tabindex="tab" aria-label="Copy the caption" title="Copy (c)"
              @click="$emit('copy')"><Icon name="copy" /></button>
          <button type="button" class="tool" :class="{ starred: task.starred }" :tabindex="tab"
              :aria-pressed="task.starred ? 'true' : 'false'" aria-label="Star" title="Star (s)"
              @click="$emit('star')"><Icon name="star" /></button>
        </span>
      </div>
    </div>
    <div v-else-if="task.state === 'failed'" class="cell">
      <p class="failure"><strong>Failed: {{ words(task.error?.code) }}</strong> {{ task.error?.message }}</p>
      <button type="button" class="small" :tabindex="tab" title="Try again (r)" @click="$emit('retry')">
        <Icon name="retry" /> Retry</button>
    </div>
    <div v-else-if="task.state === 'running'" class="cell waiting">
      <p><span class="dot running"></span> running</p>
    </div>
    <div v-else-if="task.state === 'cancelled'" class="cell waiting">
      <p class="muted">canceled</p>
      <button type="button" class="small" :tabindex="tab" title="Caption it after all (r)"
          @click="$emit('retry')"><Icon name="retry" /> Retry</button>
    </div>
    <div v-else class="cell waiting">
      <p><span class="dot"></span> queued<span v-if="eta" class="muted">, about {{ duration(eta) }}</span></p>
      <p class="muted reason">{{ task.reason }}</p>
    </div>`,
  setup(props) {
    return {
      seconds,
      duration,
      tab: computed(() => (props.active ? 0 : -1)),
      words: (code) => (code || "unknown").replaceAll("_", " "),
    };
  },
};
