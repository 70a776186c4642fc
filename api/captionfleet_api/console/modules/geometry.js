// Where the rows of a long list are, when their heights are known only once they were drawn. Pure.

export class Geometry {
  /** `estimate` is the height in pixels of a row nobody has drawn yet. */
  constructor(estimate) {
    this.estimate = estimate;
    this.heights = new Float64Array(0);
    this.tops = new Float64Array(1);
    this.clean = 0; // tops[0..clean] are right
  }

  get count() {
    return this.heights.length;
  }

  resize(count) {
    const kept = Math.min(count, this.count);
    const heights = new Float64Array(count).fill(this.estimate);
    heights.set(this.heights.subarray(0, kept));
    const tops = new Float64Array(count + 1);
    tops.set(this.tops.subarray(0, kept + 1));
    Object.assign(this, { heights, tops, clean: Math.min(this.clean, kept) });
  }

  /** Forget what was measured, for example because the columns got wider. */
  forget(estimate) {
    this.estimate = estimate;
    this.heights.fill(estimate);
    this.clean = 0;
  }

  /** True if that changed anything. */
  measure(index, height) {
    if (index >= this.count || Math.abs(this.heights[index] - height) < 0.5) return false;
    this.heights[index] = height;
    this.clean = Math.min(this.clean, index);
    return true;
  }

  top(index) {
    for (let at = this.clean; at < index; at += 1) {
      this.tops[at + 1] = this.tops[at] + this.heights[at];
    }
    this.clean = Math.max(this.clean, index);
    return this.tops[index];
  }

  get total() {
    return this.top(this.count);
  }

  /** The row at `y` pixels below the first row's top. */
  indexAt(y) {
    let low = 0;
    let high = this.count - 1;
    this.top(this.count);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }
}
