// Pictures, models and a prompt become a job. Asked once, however often the network fails.
import { reactive } from "vue";
import { promptsOf } from "./prompt_field.js";
import { send, Unreachable } from "./rest.js";
import { whenBack } from "./connection.js";

export class Submission {
  constructor() {
    this.state = reactive({ sending: false, problem: "" });
    this.key = "";
    this.body = "";
  }

  /** Returns the job, or null with `state.problem` set to what the server has against it. */
  async submit({ tray, chosen, models, prompt, name }) {
    const prompts = promptsOf(prompt, models);
    const body = {
      name: name.trim(), images: tray.images(), models: chosen,
      ...(prompts.length ? { prompts } : {}),
    };
    this.#renewKey(JSON.stringify(body));
    Object.assign(this.state, { sending: true, problem: "" });
    try {
      return await this.#persist(body);
    } catch (error) {
      this.state.problem = error.message;
      return null;
    } finally {
      this.state.sending = false;
    }
  }

  /** The same request keeps its key, so that a repeat after a lost answer makes no second job. */
  #renewKey(body) {
    if (body === this.body) return;
    this.body = body;
    const random = crypto.getRandomValues(new Uint8Array(16));
    this.key = [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async #persist(body) {
    for (;;) {
      try {
        return await send("POST", "/jobs", body, { headers: { "idempotency-key": this.key } });
      } catch (error) {
        if (!(error instanceof Unreachable)) throw error;
        await new Promise((resolve) => {
          const stop = whenBack(() => {
            stop();
            resolve();
          });
        });
      }
    }
  }
}
