// The demo's word on its toy models, and real models to fetch by one click when a hub is in reach.
import { computed, reactive } from "vue";
import { fleet, lookAtFleet } from "./fleet.js";
import { send } from "./rest.js";
import { bytes } from "./words.js";
import { note } from "./notes.js";

export const DemoOffers = {
  template: `
    <aside v-if="demo" class="demo">
      <p><b>Demo.</b> These are toy models: they know only colored shapes.<template
          v-if="demo.hub_reachable === false"> No model hub can be reached from here, so these are all there
          are.</template></p>
      <ul v-if="demo.hub_reachable && demo.offers.length" class="offers" aria-label="Real models to fetch">
        <li v-for="offer in demo.offers" :key="offer.name">
          <button type="button" class="small" :disabled="asked[offer.name]" @click="fetchModel(offer)">Fetch
            {{ offer.display_name || offer.name }}</button>
          <span class="muted">{{ bytes(offer.size_bytes) }}<template v-if="offer.license"> ·
            {{ offer.license }}</template></span>
        </li>
      </ul>
    </aside>`,
  setup() {
    const asked = reactive({});
    async function fetchModel(offer) {
      asked[offer.name] = true;
      try {
        await send("POST", `/fleet/offers/${encodeURIComponent(offer.name)}`, {});
        note(`${offer.display_name || offer.name} was added. A worker fetches it and tests it now; Models shows how far it is.`);
        await lookAtFleet();
      } catch (error) {
        asked[offer.name] = false;
        note(error.message, "bad");
      }
    }
    return { demo: computed(() => fleet.value?.demo), asked, fetchModel, bytes };
  },
};
