// Numbers in words. Pure.

export function plural(count, one, many = one + "s") {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}

/** With a capital letter, as a sentence begins. */
export function sentence(words) {
  return words[0].toUpperCase() + words.slice(1);
}

/** Seconds of work in two digits: 0.034 s, 1.2 s, 34 s. */
export function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 0.001) return "< 0.001 s";
  if (value < 1) return `${Number(value.toPrecision(2))} s`;
  return value < 10 ? `${value.toFixed(1)} s` : duration(value);
}

/** A time to wait: 12 s, 3 min, 2 h 5 min. */
export function duration(value) {
  const whole = Math.max(1, Math.round(value));
  if (whole < 90) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 90) return `${minutes} min`;
  const rest = minutes % 60;
  return `${Math.floor(minutes / 60)} h${rest ? ` ${rest} min` : ""}`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  let left = value;
  while (left >= 999.5 && unit < units.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${left < 10 && unit ? left.toFixed(1) : Math.round(left)} ${units[unit]}`;
}

/** Sizes of files, in the units of hubs and disks. */
export function fileBytes(value) {
  return value >= 1e9 ? `${(value / 1e9).toFixed(1)} GB` : `${Math.round(value / 1e6)} MB`;
}

/** How far a download is, in the units of hubs: 1.2 of 3.4 GB at 35 MB/s, 50 s left. */
export function downloadWords({ done, total, speed, left }) {
  const [unit, size] = total >= 1e9 ? ["GB", 1e9] : ["MB", 1e6];
  const digits = total < 100 * size ? 1 : 0;
  const pace = speed === null ? "" : ` at ${Number((speed / 1e6).toPrecision(2))} MB/s`;
  const rest = left === null || done >= total ? "" : `, ${duration(left)} left`;
  return `${(done / size).toFixed(digits)} of ${(total / size).toFixed(digits)} ${unit}${pace}${rest}`;
}

/** How long ago: `moment` is Unix seconds or RFC 3339. */
export function ago(moment, now = Date.now()) {
  const passed = (now - inMilliseconds(moment)) / 1000;
  if (passed < 5) return "just now";
  return passed < 172800 ? `${duration(passed)} ago` : `${Math.round(passed / 86400)} days ago`;
}

export function clock(moment) {
  return new Date(inMilliseconds(moment)).toLocaleString();
}

function inMilliseconds(moment) {
  return typeof moment === "number" ? moment * 1000 : Date.parse(moment);
}

/** `text` in pieces around every `q`, so that a template can mark them: [{text, hit}]. */
export function pieces(text, q) {
  if (!q) return [{ text, hit: false }];
  const found = [];
  const low = text.toLowerCase();
  const sought = q.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(sought); at >= 0; at = low.indexOf(sought, from)) {
    if (at > from) found.push({ text: text.slice(from, at), hit: false });
    found.push({ text: text.slice(at, at + sought.length), hit: true });
    from = at + sought.length;
  }
  if (from < text.length) found.push({ text: text.slice(from), hit: false });
  return found;
}
