// What may be asked of a worker about a model, and why not. Pure.

export const WISHES = [
  { name: "Download", state: "cached", told: "have its files here, without loading it" },
  { name: "Load", state: "loaded", told: "load it here, and keep it" },
  { name: "Unload", state: "cached", told: "unload it, keep its files, and keep it unloaded" },
  { name: "Evict", state: "absent", told: "unload it, delete its downloads, and keep it away" },
  { name: "Release", state: null, told: "leave it to the planner again" },
];

/** Why a wish makes no sense now, by its name; "" where it does. */
export function refusals(worker, model) {
  const asked = worker.overrides[model];
  const loaded = worker.copies.some((copy) => copy.model === model);
  const here = worker.cached.includes(model);
  const closed = closedWords(worker);
  return {
    Download: closed || (loaded ? "it is loaded, so its files are here" : here ? "its files are here" : ""),
    Load: closed || (asked?.state === "loaded" ? "asked for already" : ""),
    Unload: closed || (loaded || asked?.state === "loaded" ? "" : "it is not loaded here"),
    Evict: closed || (asked?.state === "absent" ? "asked for already" : ""),
    Release: asked ? "" : "nothing is asked of this worker about it",
  };
}

function closedWords({ draining, fresh }) {
  if (draining) return "the worker is draining";
  return fresh ? "" : "the worker is silent";
}

/** Models that a worker tells of: loaded, asked for, cached; then those a person has picked. */
export function modelsOf(worker, picked) {
  const names = [
    ...worker.copies.map((copy) => copy.model),
    ...Object.keys(worker.overrides),
    ...[...worker.cached].sort(),
    ...picked,
  ];
  return [...new Set(names)];
}
