// Repeated looks at the server that rest while the tab is hidden and wake when the server is back.
import { onMounted, onUnmounted } from "vue";
import { whenBack } from "./connection.js";

/** While the calling component is mounted: look at once, then `milliseconds()` after each look. */
export function usePoll(look, milliseconds) {
  let timer = 0;
  let looking = false;
  let mounted = false;
  async function again() {
    clearTimeout(timer);
    if (looking || !mounted) return;
    looking = true;
    try {
      await look();
    } finally {
      looking = false;
    }
    if (mounted && !document.hidden) timer = setTimeout(again, milliseconds());
  }
  const visible = () => !document.hidden && again();
  let stop = () => {};
  onMounted(() => {
    mounted = true;
    stop = whenBack(again);
    document.addEventListener("visibilitychange", visible);
    again();
  });
  onUnmounted(() => {
    mounted = false;
    stop();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", visible);
  });
  return again;
}
