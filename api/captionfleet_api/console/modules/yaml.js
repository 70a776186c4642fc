// JSON written as YAML, the way manifests are written. Pure.

const PLAIN = /^[A-Za-z_/][\w ./@()-]*$/;
// What YAML does not take as it is, or takes for the end of a line.
const UNPRINTABLE = /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g;
const RESERVED = /^(true|false|null|yes|no|on|off|y|n|~)$/i;

export function yaml(value, indent = "") {
  if (value === null || typeof value !== "object") return `${scalar(value, indent)}\n`;
  if (Object.keys(value).length === 0) return Array.isArray(value) ? "[]\n" : "{}\n";
  return Array.isArray(value) ? list(value, indent) : mapping(value, indent);
}

function mapping(value, indent) {
  return Object.entries(value)
    .map(([key, each]) => `${indent}${plainOrQuoted(key)}:${below(each, indent)}`)
    .join("");
}

function below(value, indent) {
  const nested = value !== null && typeof value === "object" && Object.keys(value).length > 0;
  if (!nested) return ` ${yaml(value, indent)}`;
  return `\n${yaml(value, `${indent}  `)}`;
}

function list(value, indent) {
  // The first key of an item stands on the line of its dash.
  return value.map((each) => `${indent}- ${yaml(each, `${indent}  `).replace(/^\s+/, "")}`).join("");
}

function scalar(value, indent) {
  if (typeof value !== "string") return JSON.stringify(value);
  if (isBlock(value)) return `|-\n${value.split("\n").map((line) => `${indent}  ${line}`).join("\n")}`;
  return plainOrQuoted(value);
}

function plainOrQuoted(text) {
  const plain = PLAIN.test(text) && !RESERVED.test(text) && !text.endsWith(" ");
  return plain ? text : JSON.stringify(text).replace(UNPRINTABLE, escaped);
}

/** Several lines that stay as they are when written line by line. */
function isBlock(value) {
  return value.includes("\n") && !/[^\S\n]\n|\n\n|\n$|^\s/.test(value) && !/[\t\r\v\f\0-\x08\x0e-\x1f]/.test(value)
    && value.search(UNPRINTABLE) < 0;
}

function escaped(character) {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
