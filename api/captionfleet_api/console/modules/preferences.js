// What this browser remembers of a person's choices. Never anything the server must know.

const PREFIX = "captionfleet.";

export function recall(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? fallback;
  } catch {
    return fallback; // written by somebody else
  }
}

export function remember(name, value) {
  localStorage.setItem(PREFIX + name, JSON.stringify(value));
}
