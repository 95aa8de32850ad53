// Review: generated pairs, one after the other; decisions are in the manifest at once.

import * as api from "./api.js";
import { empty, failure, fill, h, scores, toast, typing } from "./dom.js";
import { MaskEditor } from "./editor.js";
import { jobsPanel } from "./jobs.js";

const PAGE = 60;
const STATES = { waiting: "Not yet decided", all: "All", accepted: "Accepted", rejected: "Rejected" };

export async function reviewView(view, models) {
  if (!models.studio.review) {
    fill(view, empty("Nothing to review", "The service was started without a folder of generated pairs.", "blemish serve DETECTOR --pairs painted"));
    return;
  }
  const grid = h("div", { class: "grid", role: "group", "aria-label": "Pairs" });
  const more = h("button", { hidden: true, onclick: () => load(pairs.filter(fits).length) }, "Show more");
  const label = h("select", { id: "label", onchange: () => load(0) });
  const state = h("select", { id: "state", onchange: () => load(0) }, Object.entries(STATES).map(([value, text]) => h("option", { value }, text)));
  const stage = h("div", { class: "stack" });
  const counts = h("p", { class: "muted" });
  let pairs = [], current = 0, editor = null;

  // Whether a pair is still in the list that the service would give: offsets count those.
  const fits = (pair) => ({ all: true, waiting: !pair.reviewed, accepted: pair.accepted, rejected: !pair.accepted })[state.value];

  async function load(offset) {
    const query = new URLSearchParams({ state: state.value, offset, limit: PAGE });
    if (label.value) query.set("label", label.value);
    const found = await api.get(`/pairs?${query}`);
    const wanted = label.value;
    fill(label, h("option", { value: "" }, "All types"), Object.entries(found.labels).map(([name, count]) => h("option", { value: name, selected: name === wanted }, `${name} (${count})`)));
    const known = new Set(offset ? pairs.map((pair) => pair.id) : []);
    pairs = offset ? pairs.concat(found.pairs.filter((pair) => !known.has(pair.id))) : found.pairs;
    if (!offset) current = 0;
    more.hidden = pairs.filter(fits).length >= found.total;
    tell(found.counts);
    draw();
  }

  function tell(all) {
    counts.textContent = `${all.all} pairs: ${all.accepted} accepted, ${all.rejected} rejected, ${all.waiting} not yet decided by you.`;
  }

  const mark = (pair) => h("span", { class: `mark ${pair.accepted ? (pair.reviewed ? "" : "open") : "no"}`, "aria-hidden": "true" }, pair.accepted ? "✓" : "×");
  const words = (pair) => `${pair.label} ${pair.name}, ${pair.accepted ? "accepted" : "rejected"}${pair.reviewed ? " by a person" : " by the gate"}`;

  function draw() {
    fill(grid, pairs.map((pair, n) => h("button", { "aria-current": n === current ? "true" : null, "aria-label": words(pair), title: words(pair), onclick: () => go(n) },
      h("img", { src: api.address(`/pairs/${pair.id}/thumbnail`), alt: "", loading: "lazy" }), mark(pair))));
    grid.children[current]?.scrollIntoView({ block: "nearest" });
    drawStage();
  }

  const corrected = () => editor !== null && editor.past.length > 0;

  function go(n) {
    if (n < 0 || n >= pairs.length) return;
    if (corrected()) {
      toast("The mask is not saved: save it with S, or undo it with Z.", true);
      return;
    }
    grid.children[current]?.removeAttribute("aria-current");
    current = n;
    grid.children[current]?.setAttribute("aria-current", "true");
    grid.children[current]?.scrollIntoView({ block: "nearest" });
    drawStage();
  }

  function drawStage() {
    editor = null;
    const pair = pairs[current];
    if (!pair) {
      fill(stage, h("div", { class: "panel empty" }, h("h2", {}, state.value === "waiting" ? "Everything is decided" : "No pair here"), h("p", {}, "Choose another type or state, or generate more.")));
      return;
    }
    const stamp = pair.changed ?? 0;
    const url = api.address(`/pairs/${pair.id}`);
    editor = new MaskEditor();
    const shown = editor;
    const save = h("button", { disabled: true, onclick: () => correct() }, "Save the mask", h("kbd", { "aria-hidden": "true" }, "S"));
    shown.onchange = () => { save.disabled = !corrected() || shown.empty; };
    fill(stage, h("div", { class: "panel stack" },
      h("div", { class: "row" }, h("h2", {}, `${pair.label} ${pair.name}`), h("span", { class: pair.accepted ? "chip" : "chip bad" }, pair.accepted ? "accepted" : "rejected"), h("span", { class: "chip plain" }, pair.reviewed ? "by a person" : "by the gate"),
        h("span", { class: "row push" }, h("button", { class: "bad", onclick: () => decide(false) }, "Reject", h("kbd", { "aria-hidden": "true" }, "R")), h("button", { class: "good", onclick: () => decide(true) }, "Accept", h("kbd", { "aria-hidden": "true" }, "A")))),
      editor.element,
      h("div", { class: "row" }, h("button", { onclick: () => go(current - 1), disabled: current === 0 }, "Previous", h("kbd", { "aria-hidden": "true" }, "←")), h("button", { onclick: () => go(current + 1), disabled: current >= pairs.length - 1 }, "Next", h("kbd", { "aria-hidden": "true" }, "→")), h("span", { class: "push" }, save))),
      h("div", { class: "panel stack" }, pair.reasons.length ? h("ul", { class: "reasons" }, pair.reasons.map((reason) => h("li", {}, reason))) : null, scores(pair.scores)));
    editor.open(`${url}/image`, `${url}/mask?${stamp}`).catch((error) => fill(stage, failure(error)));
  }

  async function decide(accepted) {
    if (!pairs[current]) return;
    if (accepted && corrected() && editor.empty) toast("The mask is empty: draw the defect, or reject the pair.", true);
    else await change(accepted && corrected() ? { accepted, mask: editor.png() } : { accepted }, true);
  }

  async function correct() {
    if (!corrected() || editor.empty) return;
    await change({ mask: editor.png() }, false);
  }

  async function change(decision, onward) {
    const n = current, pair = pairs[n];
    try {
      const changed = await api.patch(`/pairs/${pair.id}`, decision);
      pairs[n] = { ...changed, changed: (pair.changed ?? 0) + 1 };
      grid.children[n]?.querySelector(".mark")?.replaceWith(mark(pairs[n]));
      grid.children[n]?.setAttribute("aria-label", words(pairs[n]));
      const verdict = "accepted" in decision ? `${pair.label} ${pair.name} is ${decision.accepted ? "accepted" : "rejected"}.` : "";
      toast([verdict, decision.mask ? "The mask is saved." : ""].filter(Boolean).join(" "));
      if (current === n) editor = null; // what was drawn is saved, or rejected with its pair
      if (onward && n + 1 < pairs.length) go(n + 1);
      else if (current === n) drawStage();
      const query = new URLSearchParams({ limit: 1, ...(label.value ? { label: label.value } : {}) });
      tell((await api.get(`/pairs?${query}`)).counts);
    } catch (error) {
      toast(error.message, true);
    }
  }

  function key(event) {
    if (typing(event) || document.querySelector("dialog[open]")) return;
    const action = { a: () => decide(true), r: () => decide(false), s: () => correct(), m: () => editor?.show(!editor.shown), ArrowRight: () => go(current + 1), ArrowLeft: () => go(current - 1) }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  const jobs = models.studio.paint ? jobsPanel(models, () => corrected() || load(0)) : null;
  fill(view, h("div", { class: "work two" },
    h("section", { class: "panel stack", "aria-label": "Pairs to choose from" },
      h("div", { class: "field" }, h("label", { htmlFor: "state" }, "Show"), state), h("div", { class: "field" }, h("label", { htmlFor: "label" }, "Type"), label), counts, grid, more, jobs?.element),
    stage));
  await load(0);
  document.addEventListener("keydown", key);
  return () => { document.removeEventListener("keydown", key); jobs?.stop(); };
}
