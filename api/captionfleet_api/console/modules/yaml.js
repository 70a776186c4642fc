// JSON written as YAML, the way manifests are written. Pure.

const PLAIN = /^[A-Za-z_/][\w ./@()-]*$/;
const RESERVED = /^(true|false|null|yes|no|on|off|y|n|~)$/i;

export function yaml(value, indent = "") {
  if (value === null || typeof value !== "object") return `${scalar(value, indent)}\n`;
  if (Object.keys(value).length === 0) return Array.isArray(value) ? "[]\n" : "{}\n";
  return Array.isArray(value) ? list(value, indent) : mapping(value, indent);
}

function mapping(value, indent) {
  return Object.entries(value)
    .map(([key, each]) => `${indent}${scalar(key, indent)}:${below(each, indent)}`)
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
  if (value.includes("\n") && !/[^\S\n]\n|\n$|^\s/.test(value)) {
    return `|-\n${value.split("\n").map((line) => `${indent}  ${line}`).join("\n")}`;
  }
  return PLAIN.test(value) && !RESERVED.test(value) && !value.endsWith(" ") ? value : JSON.stringify(value);
}
