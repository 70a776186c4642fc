// Draws only the rows near the window of a scrolling element, whatever their heights.
import { nextTick, onMounted, onUnmounted, shallowReactive } from "vue";
import { Geometry } from "./geometry.js";

const BEYOND = 400; // pixels drawn above and below what is seen

/** The directive that has a row's height measured whenever it changes. */
export const measure = {
  mounted: (row, { value }) => value.observe(row),
  beforeUnmount: (row, { value }) => value.unobserve(row),
};

/** VirtualRows that live as long as the calling component. */
export function useVirtualRows(given) {
  const rows = new VirtualRows(given);
  onMounted(() => rows.begin());
  onUnmounted(() => rows.end());
  return rows;
}

/**
 * `scroller()` and `body()` give the elements, `total()` the number of rows, `estimate()` a height.
 * `view` tells what to draw; every drawn row carries data-index and v-measure="observer".
 */
class VirtualRows {
  constructor(given) {
    Object.assign(this, given);
    this.geometry = new Geometry(this.estimate());
    this.view = shallowReactive({ first: 0, last: -1, height: 0, version: 0 });
    this.observer = new ResizeObserver((entries) => this.#measured(entries));
    this.sized = new ResizeObserver(() => this.#resized());
    this.onScroll = () => this.refresh();
    this.width = 0;
  }

  begin() {
    this.scroller().addEventListener("scroll", this.onScroll, { passive: true });
    this.sized.observe(this.scroller());
    this.refresh();
  }

  end() {
    this.observer.disconnect();
    this.sized.disconnect();
    this.scroller()?.removeEventListener("scroll", this.onScroll);
  }

  top(index) {
    return this.geometry.top(index);
  }

  /** Look again at what is in view. */
  refresh() {
    if (!this.body()) return;
    const { geometry, view } = this;
    if (geometry.count !== this.total()) geometry.resize(this.total());
    const seen = this.#seen();
    const bottom = seen + this.scroller().clientHeight + BEYOND;
    Object.assign(view, {
      first: geometry.indexAt(Math.max(0, seen - BEYOND)),
      last: Math.min(this.total() - 1, geometry.indexAt(bottom)),
      height: geometry.total,
    });
  }

  /** Bring row `index` near enough to be drawn. */
  async reveal(index) {
    const top = this.body().offsetTop + this.top(index);
    const { scrollTop, clientHeight } = this.scroller();
    if (top < scrollTop - BEYOND || top > scrollTop + clientHeight + BEYOND) {
      this.scroller().scrollTop = top - clientHeight / 2;
    }
    this.refresh();
    await nextTick();
  }

  /** Pixels of the body that are scrolled out above. */
  #seen() {
    return this.scroller().scrollTop - this.body().offsetTop;
  }

  #measured(entries) {
    const rows = entries.map(({ target }) => target).filter((row) => row.isConnected);
    const anchor = this.geometry.indexAt(Math.max(0, this.#seen()));
    const before = this.top(anchor);
    if (!this.#measure(rows)) return;
    this.view.version += 1; // rows may have moved though the same ones are in view
    this.refresh();
    // What is being read stays where it is when rows above it turn out higher or lower.
    const moved = this.top(anchor) - before;
    if (moved) nextTick(() => (this.scroller().scrollTop += moved));
  }

  #resized() {
    if (this.body() && this.body().clientWidth !== this.width) {
      this.width = this.body().clientWidth;
      this.geometry.forget(this.estimate());
      this.#measure([...this.body().querySelectorAll("[data-index]")]);
      this.view.version += 1;
    }
    this.refresh();
  }

  /** True if a height changed. Whole pixels, so that no row hides the line below another. */
  #measure(rows) {
    const heights = rows.map((row) => Math.ceil(row.getBoundingClientRect().height));
    const changes = rows.map((row, at) => this.geometry.measure(Number(row.dataset.index), heights[at]));
    return changes.includes(true);
  }
}
