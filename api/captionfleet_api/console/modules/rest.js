// The REST doors under /api/v1: JSON in, JSON out, problems (RFC 9457) as errors with words.
import { connection, reportLost } from "./connection.js";

export const DOORS = "/api/v1";

/** The server refused; message says what and why. */
class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The server answered ${status}.`);
    Object.assign(this, { status, field: body.field, code: body.code, places: body.code_problems, retryAfter: null });
  }
}

/** The server did not answer at all; the banner says so and the connection looks for it. */
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer. This page tries again by itself.");
  }
}

export function get(path, options = {}) {
  return send("GET", path, undefined, options);
}

export async function send(method, path, body, { headers = {}, signal } = {}) {
  const json = body === undefined ? {} : { "content-type": "application/json" };
  let answer;
  try {
    answer = await fetch(DOORS + path, {
      method, signal, headers: { accept: "application/json", ...json, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    reportLost();
    throw new Unreachable();
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  throw problemOf(answer.status, await answer.text(), answer.headers.get("retry-after"));
}

/** The error that stands for a refusal: shared by fetch here and the uploads' XMLHttpRequest. */
export function problemOf(status, text, retryAfter) {
  if (status === 502 || status === 504) {
    reportLost();
    return new Unreachable();
  }
  connection.denied = connection.denied || status === 401;
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { detail: text.slice(0, 300) };
  }
  return Object.assign(new Problem(status, body || {}), { retryAfter: Number(retryAfter) || null });
}

/** All items of a paged list. */
export async function getAll(path) {
  const items = [];
  let cursor = null;
  do {
    const more = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const page = await get(`${path}?limit=500${more}`);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return items;
}
