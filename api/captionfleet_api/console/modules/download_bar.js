// How far the files of a model are fetched: a bar, megabytes, speed and the time left.
import { computed } from "vue";
import { downloadWords } from "./words.js";

/** `of` is the `download` of a model's status, or of a worker's copy. */
export const DownloadBar = {
  props: { of: { type: Object, required: true }, name: { type: String, required: true } },
  template: `
    <div class="download">
      <progress :max="far.total || 1" :value="far.done" :aria-label="'Download of ' + name"
          :aria-valuetext="words"></progress>
      <span>{{ words }}</span>
    </div>`,
  setup(props) {
    const far = computed(() => amounts(props.of));
    return { far, words: computed(() => downloadWords(far.value)) };
  },
};

/** A status writes bytesDone, REST bytes_done. */
function amounts(told) {
  return {
    done: told.bytesDone ?? told.bytes_done,
    total: told.bytesTotal ?? told.bytes_total,
    speed: told.bytesPerSecond ?? told.bytes_per_second ?? null,
    left: told.secondsLeft ?? told.seconds_left ?? null,
  };
}
