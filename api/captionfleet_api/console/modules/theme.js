// Light or dark: as the system has it, or as the person chose, kept in this browser.
import { ref, watchEffect } from "vue";

const KEPT = "captionfleet.theme"; // read as plain text before the first paint, see mount.py
const NEXT = { "": "light", light: "dark", dark: "" };

export const theme = ref(localStorage.getItem(KEPT) || "");

export function switchTheme() {
  theme.value = NEXT[theme.value];
}

watchEffect(() => {
  if (theme.value) {
    localStorage.setItem(KEPT, theme.value);
    document.documentElement.dataset.theme = theme.value;
  } else {
    localStorage.removeItem(KEPT);
    delete document.documentElement.dataset.theme;
  }
});
