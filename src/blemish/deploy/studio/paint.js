// Paint: a good photo, a type of defect, a mask; the generator does the rest.

import * as api from "./api.js";
import { empty, failure, fill, h, scores, toast } from "./dom.js";
import { MaskEditor } from "./editor.js";

const PAGE = 60;

export async function paintView(view, models) {
  if (!models.studio.paint) {
    fill(view, empty("Nothing to paint with", "The service was started without a generator, or without good photos to paint on.", "blemish serve DETECTOR --generator GENERATOR --data DATASET --pairs painted"));
    return;
  }
  const types = models.generator.types;
  const grid = h("div", { class: "grid", role: "group", "aria-label": "Good photos" });
  const more = h("button", { onclick: () => load() }, "Show more");
  const type = h("select", { id: "type" }, types.map((name) => h("option", {}, name)));
  const seed = h("input", { type: "number", id: "seed", min: 0, max: 2147483647, step: 1, value: 0 });
  const go = h("button", { class: "primary", onclick: () => paint() }, "Paint the defect");
  const again = h("button", { onclick: () => { seed.value = Number(seed.value || 0) + 1; paint(); } }, "Another one");
  const note = h("p", { class: "muted" });
  const result = h("div", { class: "stack side" });
  const editor = new MaskEditor(() => { note.textContent = editor.empty ? "No mask: place and shape are taken as the real defects have them." : "The defect will fill the mask."; });
  let photo = null, loaded = 0;

  async function load() {
    const { total, photos } = await api.get(`/photos?offset=${loaded}&limit=${PAGE}`);
    loaded += photos.length;
    more.hidden = loaded >= total;
    grid.append(...photos.map((one) => h("button", { title: one.name, "aria-label": `Photo ${one.name}`, onclick: (event) => choose(one, event.currentTarget) },
      h("img", { src: api.address(`/photos/${one.id}/thumbnail`), alt: "", loading: "lazy" }))));
    if (!photo && photos.length) await choose(photos[0], grid.firstElementChild);
  }

  async function choose(one, button) {
    photo = one;
    for (const other of grid.children) other.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    try {
      await editor.open(api.address(`/photos/${one.id}`));
    } catch (error) {
      toast(error.message, true);
    }
  }

  async function paint() {
    if (!seed.checkValidity() || seed.value === "") { seed.reportValidity(); return; }
    go.disabled = again.disabled = true;
    fill(result, h("div", { class: "panel empty" }, h("span", { class: "spin" }), h("p", {}, `Painting ${type.value}`)));
    try {
      const wish = { photo: photo.id, type: type.value, seed: Number(seed.value), mask: editor.empty ? null : editor.png() };
      show(await api.post("/paint", wish), wish);
    } catch (error) {
      fill(result, failure(error));
    }
    go.disabled = again.disabled = false;
  }

  function show(made, wish) {
    const picture = h("img", { class: "picture", src: made.image, alt: `Photo with a painted ${wish.type}` });
    const look = (name, url) => h("button", { "aria-pressed": String(picture.src === url), onclick: (event) => {
      picture.src = url;
      for (const other of event.currentTarget.parentElement.children) other.setAttribute("aria-pressed", String(other === event.currentTarget));
    } }, name);
    const keep = h("button", { class: "primary", disabled: !models.studio.keep, onclick: () => save() }, "Keep it");
    async function save() {
      keep.disabled = true;
      try {
        const pair = await api.post(`/paintings/${made.id}/keep`);
        keep.textContent = "Kept";
        toast(`Kept as ${pair.label} ${pair.name}. The next training learns from it.`);
      } catch (error) {
        keep.disabled = false;
        toast(error.message, true);
      }
    }
    fill(result, h("div", { class: "panel stack" },
      h("div", { class: "row" }, h("h2", {}, wish.type), h("span", { class: made.accepted ? "chip push" : "chip bad push" }, made.accepted ? "passes the gate" : "fails the gate")),
      picture,
      h("span", { class: "segments", role: "group", "aria-label": "What is shown" }, look("Painted", made.image), look("Before", new URL(api.address(`/photos/${wish.photo}`), location).href), look("Mask", made.mask)),
      made.reasons.length ? h("ul", { class: "reasons" }, made.reasons.map((reason) => h("li", {}, reason))) : null,
      h("div", { class: "row" }, keep, again),
      !models.studio.keep && h("p", { class: "hint" }, "To keep paintings, start the service with --pairs."),
      h("details", {}, h("summary", {}, "Quality scores"), scores(made.scores)),
      h("p", { class: "muted" }, `Seed ${wish.seed}, ${made.seconds.toFixed(1)} s.`)));
  }

  fill(result, h("div", { class: "panel empty" }, h("h2", {}, "Your defect appears here"), h("p", {}, "Paint where it should be, or leave the mask empty and let the generator choose.")));
  fill(view, h("div", { class: "work" },
    h("section", { class: "panel stack", "aria-label": "Good photos" }, h("h3", {}, "Good photo"), grid, more),
    h("section", { class: "panel stack", "aria-label": "Mask" },
      h("div", { class: "row" }, h("div", { class: "field" }, h("label", { htmlFor: "type" }, "Type of defect"), type), h("div", { class: "field" }, h("label", { htmlFor: "seed" }, "Seed"), seed), h("span", { class: "push" }, go)),
      editor.element, note),
    result));
  await load();
}
