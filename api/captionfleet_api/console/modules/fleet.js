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
const KEPT = "Pictures and jobs are kept and go on by themselves.";
const NO_BROKER = "there is no connection to the broker";
const NO_OPERATOR = "The operator is silent. Loaded models keep captioning, but nothing is loaded or scaled.";

/** What is wrong with broker, operator and catalog, as [{text, list}]. Pure. */
export function troubles(state) {
  if (!state) return [];
  const { refusal, broker, operator, catalog_problems: refused = [] } = state;
  const found = refusal ? [{ text: refusal }] : [];
  if (broker && !broker.connected) {
    found.push({ text: `No captions for now: ${broker.message || NO_BROKER}. ${KEPT}` });
  } else if (operator && (operator.seen_seconds ?? Infinity) > SILENT_SECONDS) {
    found.push({ text: operator.message || NO_OPERATOR });
  }
  if (refused.length) {
    const many = refused.length === 1 ? "One manifest was" : `${refused.length} manifests were`;
    found.push({ text: `${many} refused:`, list: refused });
  }
  return found;
}
