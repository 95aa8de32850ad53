// Generating more pairs: a long job with its progress, and a way to end it.

import * as api from "./api.js";
import { failure, fill, h, toast } from "./dom.js";

const EVERY = 1000;

export function jobsPanel(models, finished) {
  const place = h("div", { class: "stack" });
  const inputs = models.generator.types.map((name) => [name, h("input", { type: "number", id: `count-${name}`, min: 0, max: 1000, step: 1, value: 0 })]);
  const seed = h("input", { type: "number", id: "job-seed", min: 0, max: 2147483647, step: 1, value: 0 });
  const start = h("button", { class: "primary", onclick: () => begin() }, "Generate");
  let timer = null, watched = null;

  async function begin() {
    const counts = Object.fromEntries(inputs.map(([name, input]) => [name, Number(input.value)]).filter(([, count]) => count > 0));
    if (!Object.keys(counts).length) { toast("Say how many of which type.", true); return; }
    try {
      watched = (await api.post("/generate", { counts, seed: Number(seed.value) })).id;
      look();
    } catch (error) {
      fill(place, failure(error));
    }
  }

  async function look() {
    clearTimeout(timer);
    try {
      const job = await api.get(`/jobs/${watched}`);
      const over = !["waiting", "running"].includes(job.state);
      fill(place,
        h("label", { htmlFor: "job" }, `${job.state}: ${job.done} of ${job.total} pairs`),
        h("progress", { id: "job", max: job.total, value: job.done }),
        job.error && failure({ message: job.error }),
        !over && h("button", { onclick: () => end() }, "Cancel"));
      start.disabled = !over;
      if (over) finished();
      else timer = setTimeout(look, EVERY);
    } catch (error) {
      fill(place, failure(error));
      start.disabled = false;
    }
  }

  async function end() {
    await api.remove(`/jobs/${watched}`).catch((error) => toast(error.message, true));
    look();
  }

  async function resume() {
    const running = (await api.get("/jobs").catch(() => [])).find((job) => ["waiting", "running"].includes(job.state));
    if (!running) return;
    watched = running.id;
    element.open = true;
    look();
  }

  const element = h("details", {}, h("summary", {}, "Generate more"),
    h("div", { class: "stack" },
      h("p", { class: "hint" }, "How many pairs of each type the folder should hold. What is there with the same seed counts."),
      inputs.map(([name, input]) => h("div", { class: "field" }, h("label", { htmlFor: input.id }, name), input)),
      h("div", { class: "field" }, h("label", { htmlFor: "job-seed" }, "Seed"), seed), start, place));
  resume();
  return { element, stop: () => clearTimeout(timer) };
}
