// The fleet's own state (GET /fleet), looked at by the top bar and shared with the pages.
import { shallowRef } from "vue";
import { get } from "./rest.js";

export const fleet = shallowRef(null);

export async function lookAtFleet() {
  try {
    fleet.value = await get("/fleet");
  } catch (error) {
    if (error.status) fleet.value = { ...fleet.value, refusal: error.message };
  }
}

const SILENT_SECONDS = 10;

/** What is wrong with broker, operator and catalog, as [{kind, text, list}]. Pure. */
export function troubles(state) {
  if (!state) return [];
  const found = [];
  if (state.refusal) found.push({ text: state.refusal });
  if (state.broker && !state.broker.connected) {
    found.push({ text: `No captions for now: ${state.broker.message || "there is no connection to the broker"}. Pictures and jobs are kept and go on by themselves.` });
  } else if (state.operator && (state.operator.seen_seconds === null || state.operator.seen_seconds > SILENT_SECONDS)) {
    found.push({ text: state.operator.message || "The operator is silent. Loaded models keep captioning, but nothing is loaded or scaled: see its log." });
  }
  if (state.catalog_problems?.length) {
    const count = state.catalog_problems.length;
    found.push({ text: `${count === 1 ? "One manifest was" : `${count} manifests were`} refused:`, list: state.catalog_problems });
  }
  return found;
}
