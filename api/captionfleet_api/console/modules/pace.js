// How fast columns fill, seen from here, and when a cell's turn comes. Pure.

const WINDOW_MS = 15000;

/** Remembers (moment, done) per column and tells its rate over the last 15 s. */
export class Pace {
  constructor() {
    this.seen = new Map();
  }

  look(column, done, now) {
    const looks = (this.seen.get(column) || []).filter(([moment]) => now - moment < WINDOW_MS);
    looks.push([now, done]);
    this.seen.set(column, looks);
  }

  /** Cells per second; 0 while unknown. */
  rate(column) {
    const looks = this.seen.get(column) || [];
    if (looks.length < 2) return 0;
    const [[from, before], [to, after]] = [looks[0], looks[looks.length - 1]];
    return to > from ? Math.max(0, ((after - before) * 1000) / (to - from)) : 0;
  }
}

/** Seconds until the cell at `position` is done: cells come about in the order of positions. */
export function cellSeconds(position, images, waiting, rate) {
  if (!rate || !waiting) return null;
  const rank = Math.min(waiting, Math.max(1, position + 1 - (images - waiting)));
  return rank / rate;
}
