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
