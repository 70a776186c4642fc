// Draws only the rows near the window of a scrolling element, whatever their heights.
import { nextTick, onMounted, onUnmounted, shallowReactive } from "vue";
import { Geometry } from "./geometry.js";

const BEYOND = 400; // pixels drawn above and below what is seen

/** Whole pixels, so that no row hides the line below another. */
function heightOf(row) {
  return Math.ceil(row.getBoundingClientRect().height);
}

/** The directive that has a row's height measured whenever it changes. */
export const measure = {
  mounted: (row, { value }) => value.observe(row),
  beforeUnmount: (row, { value }) => value.unobserve(row),
};

/**
 * `scroller()` and `body()` give the elements, `total()` the number of rows, `estimate()` a height.
 * Returns {view: {first, last, height, version}, top(index), observer, refresh, reveal}; every drawn
 * row carries data-index and v-measure="observer".
 */
export function useVirtualRows({ scroller, body, total, estimate }) {
  const geometry = new Geometry(estimate());
  const view = shallowReactive({ first: 0, last: -1, height: 0, version: 0 });
  const observer = new ResizeObserver((entries) => measured(entries));
  const sized = new ResizeObserver(() => widthMayHaveChanged());
  let width = 0;

  function refresh() {
    if (!body()) return;
    if (geometry.count !== total()) geometry.resize(total());
    const seen = scroller().scrollTop - body().offsetTop;
    view.first = geometry.indexAt(Math.max(0, seen - BEYOND));
    view.last = Math.min(total() - 1, geometry.indexAt(seen + scroller().clientHeight + BEYOND));
    view.height = geometry.total;
    view.version += 1;
  }

  function measured(entries) {
    const seen = Math.max(0, scroller().scrollTop - body().offsetTop);
    const anchor = geometry.indexAt(seen);
    const before = geometry.top(anchor);
    let changed = false;
    for (const { target } of entries) {
      if (target.isConnected) {
        changed = geometry.measure(Number(target.dataset.index), heightOf(target)) || changed;
      }
    }
    if (!changed) return;
    refresh();
    // What is being read stays where it is when rows above it turn out higher or lower.
    const moved = geometry.top(anchor) - before;
    if (moved) nextTick(() => (scroller().scrollTop += moved));
  }

  function widthMayHaveChanged() {
    if (body() && body().clientWidth !== width) {
      width = body().clientWidth;
      geometry.forget(estimate());
      for (const row of body().querySelectorAll("[data-index]")) {
        geometry.measure(Number(row.dataset.index), heightOf(row));
      }
    }
    refresh();
  }

  /** Bring row `index` near enough to be drawn. */
  async function reveal(index) {
    const top = body().offsetTop + geometry.top(index);
    const { scrollTop, clientHeight } = scroller();
    if (top < scrollTop - BEYOND || top > scrollTop + clientHeight + BEYOND) {
      scroller().scrollTop = top - clientHeight / 2;
    }
    refresh();
    await nextTick();
  }

  onMounted(() => {
    scroller().addEventListener("scroll", refresh, { passive: true });
    sized.observe(scroller());
    refresh();
  });
  onUnmounted(() => {
    observer.disconnect();
    sized.disconnect();
    scroller()?.removeEventListener("scroll", refresh);
  });
  return { view, top: (index) => geometry.top(index), observer, refresh, reveal };
}
