// Whether the server answers. Everything that talks to it reports here; one probe finds it again.
import { reactive } from "vue";

export const connection = reactive({ online: true, denied: false });

const PROBE_MS = 1000;
const onReturn = new Set();
let probing = false;

/** Call `act` each time the server is back after it was away; returns how to stop that. */
export function whenBack(act) {
  onReturn.add(act);
  return () => onReturn.delete(act);
}

/** A request got no answer: say so, and ask until there is one. */
export function reportLost() {
  connection.online = false;
  if (probing) return;
  probing = true;
  setTimeout(probe, PROBE_MS);
}

/** Something odd happened that need not mean that the server is away: find out. */
export async function makeSure() {
  if (!probing && !(await answers())) reportLost();
}

async function probe() {
  if (!(await answers())) return void setTimeout(probe, PROBE_MS);
  probing = false;
  connection.online = true;
  for (const act of [...onReturn]) act();
}

function answers() {
  return fetch("/healthz", { cache: "no-store" }).then((answer) => answer.ok, () => false);
}
