// The models as the doors give them, and how the console words their state. The poll is shared by
// whoever shows models.
import { shallowRef } from "vue";
import { getAll } from "./rest.js";

/** What a phase means at a glance: good, busy, idle, bad or off. */
const MOODS = {
  Ready: "good", Standby: "idle", Pending: "idle", Downloading: "busy", Loading: "busy",
  Updating: "busy", Degraded: "bad", Failed: "bad", Suspended: "off",
};

/** {models, error, look}: `models` is null until the first answer. */
export function useModels() {
  const models = shallowRef(null);
  const error = shallowRef("");
  async function look() {
    try {
      models.value = (await getAll("/models")).map(described);
      error.value = "";
    } catch (problem) {
      error.value = problem.message;
    }
  }
  return { models, error, look };
}

/** A manifest as the console shows it. Pure. */
export function described(manifest) {
  const { metadata, spec, status } = manifest;
  const phase = status?.phase || "Pending";
  const copies = status?.copies?.instances || [];
  const device = copies.find((copy) => copy.state === "ready")?.device || copies[0]?.device;
  const wanted = spec.requirements?.device;
  return {
    name: metadata.name,
    title: spec.displayName || metadata.name,
    mood: MOODS[phase] || "idle",
    phase,
    message: status?.message || "The operator has not looked at this model yet.",
    device: device || (wanted && wanted !== "Any" ? wanted : ""),
    speed: status?.performance?.p50Seconds ?? null,
    rate: status?.performance?.imagesPerSecond ?? null,
    memory: status?.performance?.memoryBytes ?? null,
    loadSeconds: status?.performance?.loadSeconds ?? null,
    prompts: spec.prompts || [],
    ownPrompt: spec.generation?.prompt || "",
    source: shortened(status?.source || ""),
    revision: status?.revision?.active || "",
    queue: status?.queue || null,
    copies,
    cachedOn: status?.cachedOn || [],
    download: status?.download || null,
    bringsCode: Boolean(spec.custom?.files?.length || spec.custom?.configMapRef),
    failure: status?.lastFailure || null,
    manifest,
  };
}

/** A folder by its last two names; the manifest has the whole path. */
function shortened(source) {
  return source.startsWith("/") ? `…/${source.split("/").slice(-2).join("/")}` : source;
}
