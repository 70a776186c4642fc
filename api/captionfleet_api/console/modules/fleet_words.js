// What there is to say about the fleet, in words. Pure.
import { sentence } from "./words.js";

const SILENT_SECONDS = 10;
const KEPT = "Pictures and jobs are kept and go on by themselves.";
const NO_BROKER = "there is no connection to the broker";
const OUTDATED = "What is shown was seen last, and loaded models keep captioning.";
const NO_OPERATOR = "The operator is silent. Loaded models keep captioning, but nothing is loaded or scaled.";

/** What is wrong with broker, operator and catalog, as [{text, list}]. */
export function troubles(state) {
  if (!state) return [];
  const { refusal, broker, operator, catalog, catalog_problems: refused = [] } = state;
  const found = refusal ? [{ text: refusal }] : [];
  if (broker && !broker.connected) {
    found.push({ text: `No captions for now: ${broker.message || NO_BROKER}. ${KEPT}` });
  } else if (operator && (operator.seen_seconds ?? Infinity) > SILENT_SECONDS) {
    found.push({ text: operator.message || NO_OPERATOR });
  }
  if (catalog?.trouble) found.push({ text: `${sentence(catalog.trouble)}. ${OUTDATED}` });
  if (refused.length) {
    const many = refused.length === 1 ? "One manifest was" : `${refused.length} manifests were`;
    found.push({ text: `${many} refused:`, list: refused });
  }
  return found;
}

/** How a model or a pool (`what`) comes to be, in words. */
export function wayToAdd(what, state) {
  const { kind, name } = state?.catalog ?? {};
  return kind === "namespace"
    ? `Apply a ${what} in the namespace ${name} (kubectl apply -f FILE)`
    : `Put a ${what} into the catalog folder`;
}
