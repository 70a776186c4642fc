// The right end of the top bar, and what must be said on every page: offline, fleet troubles, notes.
import { computed, onMounted, onUnmounted, ref } from "vue";
import { connection } from "captionfleet-console/connection.js";
import { fleet, lookAtFleet } from "captionfleet-console/fleet.js";
import { troubles } from "captionfleet-console/fleet_words.js";
import { HelpSheet } from "captionfleet-console/help_sheet.js";
import { Icon } from "captionfleet-console/icon.js";
import { notes } from "captionfleet-console/notes.js";
import { usePoll } from "captionfleet-console/poll.js";
import { switchTheme, theme } from "captionfleet-console/theme.js";

const LOOK_MS = 5000;
const THEMES = { "": ["screen", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };

export default {
  components: { HelpSheet, Icon },
  template: `
    <div class="top-end"><div class="top-tools">
      <button type="button" class="quiet" :aria-label="'Colors: ' + themeWords + '. Switch'"
          :title="'Colors: ' + themeWords" @click="switchTheme"><Icon :name="themeIcon" /></button>
      <button type="button" class="quiet help" aria-label="Keys" title="Keys ( ? )" @click="help = true">?</button>
      <HelpSheet v-if="help" @close="help = false" />
      <Teleport to="body">
        <div class="notes" role="status" aria-live="polite"><p v-for="note in notes" :key="note.id"
            :class="note.kind">{{ note.text }}</p></div>
      </Teleport>
    </div>
    <div class="banners">
      <div v-if="!connection.online" class="banner bad" role="alert"><b>Offline.</b> The server does not answer.
        Nothing is lost: this page goes on by itself when it is back.</div>
      <div v-if="connection.denied" class="banner bad" role="alert"><b>Not admitted.</b> Open the address that
        captionfleet printed when it started: it carries the token.</div>
      <div v-for="trouble in problems" class="banner warn" role="status">{{ trouble.text }}
        <ul v-if="trouble.list"><li v-for="line in trouble.list">{{ line }}</li></ul></div>
    </div></div>`,
  setup() {
    const help = ref(false);
    usePoll(lookAtFleet, () => LOOK_MS);
    onMounted(() => {
      // These pages need no socket: they talk to the doors. Without one a tab costs the server
      // nothing, and a restart of the server does not make NiceGUI reload the page.
      setTimeout(() => window.socket?.once("connect", () => window.socket.disconnect()));
      document.addEventListener("keydown", keys);
    });
    onUnmounted(() => document.removeEventListener("keydown", keys));
    function keys(event) {
      const typing = event.target.closest?.("input, textarea, select, dialog");
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "?") help.value = true;
      else if (event.key === "/") document.querySelector("[data-search]")?.focus();
      else return;
      event.preventDefault();
    }
    return {
      help, connection, notes, switchTheme,
      problems: computed(() => troubles(fleet.value)),
      themeIcon: computed(() => THEMES[theme.value][0]),
      themeWords: computed(() => THEMES[theme.value][1]),
    };
  },
};
