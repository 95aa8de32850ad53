// Inspect: drop photos, see what does not belong, move the threshold.

import * as api from "./api.js";
import { failure, fill, h, percent } from "./dom.js";
import { histogram, rejected } from "./histogram.js";

const MAP = "Defect map", LOOK = "Normal look";
const PATIENCE = 5; // times that a busy service is asked again
const results = []; // kept while the page is open
let chosen = null, layer = MAP, threshold = null;

export async function inspectView(view, models) {
  const { good_scores: good, good_families: families, threshold: calibrated } = models.detector;
  threshold ??= calibrated;
  const list = h("ul", { class: "list", "aria-label": "Photos" });
  const stage = h("div", { class: "stack" });
  const side = h("div", { class: "stack side" });
  const picker = h("input", { type: "file", multiple: true, accept: "image/*", "aria-label": "Choose photos", onchange: () => take([...picker.files]) });
  const drop = h("div", { class: "drop stack" }, h("p", {}, "Drop photos here"), h("label", { class: "file" }, "Choose photos", picker));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); take([...event.dataTransfer.files]); });

  async function take(files) {
    for (const file of files) {
      const entry = { file, url: URL.createObjectURL(file), name: file.name };
      results.push(entry);
      chosen ??= entry;
    }
    draw();
    for (const entry of results.filter((one) => !one.found && !one.error && !one.asked)) await ask(entry);
  }

  async function ask(entry) {
    entry.asked = true;
    entry.error = null;
    draw();
    for (let attempt = 1; !entry.found && !entry.error; attempt++) {
      try {
        entry.found = await api.inspect(entry.file);
      } catch (error) {
        if (error.passing && attempt < PATIENCE) await new Promise((done) => setTimeout(done, 1000 * error.after));
        else entry.error = error;
      }
    }
    draw();
  }

  const chip = (entry) => {
    if (entry.error) return h("span", { class: "chip bad" }, entry.error.passing ? "not inspected" : "unreadable");
    if (!entry.found) return h("span", { class: "muted" }, h("span", { class: "spin" }), " waiting");
    const bad = entry.found.score >= threshold;
    return h("span", { class: bad ? "chip bad" : "chip" }, bad ? "reject" : "pass");
  };

  function draw() {
    const at = list.scrollTop, focused = [...list.querySelectorAll("button")].indexOf(document.activeElement);
    fill(list, results.map((entry) => h("li", {}, h("button", { "aria-current": entry === chosen ? "true" : null, onclick: () => { chosen = entry; draw(); } },
      entry.error ? h("span", { class: "nothing" }) : h("img", { src: entry.url, alt: "" }),
      h("span", {}, h("span", { class: "name", title: entry.name }, entry.name), h("br"), chip(entry), " ", entry.found ? h("span", { class: "muted" }, entry.found.score.toFixed(3)) : "")))));
    list.scrollTop = at;
    list.querySelectorAll("button")[focused]?.focus();
    drawStage();
    drawSide();
  }

  function drawStage() {
    if (!chosen) {
      fill(stage, h("div", { class: "panel empty" }, h("h2", {}, "No photo yet"), h("p", {}, "Drop photos of parts on the left. Each is compared with its normal look; what does not belong is marked.")));
    } else if (chosen.error) {
      const entry = chosen;
      fill(stage, failure(entry.error), h("p", { class: "muted" }, entry.name), entry.error.passing ? h("p", {}, h("button", { onclick: () => ask(entry) }, "Try again")) : null);
    } else if (!chosen.found) {
      fill(stage, h("div", { class: "panel empty" }, h("span", { class: "spin" }), h("p", {}, `${chosen.name} is being inspected`)));
    } else {
      const { map, reconstruction } = chosen.found;
      const over = h("img", { class: "over", src: layer === MAP ? map : reconstruction, alt: layer });
      const edge = h("div", { class: "edge" });
      const slider = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Where the photo ends", oninput: () => place() });
      const place = () => { over.style.clipPath = `inset(0 0 0 ${slider.value}%)`; edge.style.left = `calc(${slider.value}% - 1px)`; };
      const choice = (name) => h("button", { "aria-pressed": String(layer === name), onclick: () => { layer = name; drawStage(); } }, name);
      const compare = h("div", { class: "compare" }, h("div", { class: "wipe" }, h("img", { src: chosen.url, alt: "Photo" }), over, edge), slider);
      compare.style.width = `min(100%, ${(54 * chosen.found.width) / chosen.found.height}vh)`;
      place();
      fill(stage,
        h("div", { class: "panel stack" },
          h("div", { class: "row" }, h("h2", {}, chosen.name), h("span", { class: "segments push", role: "group", "aria-label": "Beside the photo" }, choice(MAP), choice(LOOK))),
          compare),
        h("div", { class: "panel figures" },
          ...[["Photo", chosen.url], [LOOK, reconstruction], [MAP, map]].map(([name, url]) => h("figure", {}, h("img", { src: url, alt: name }), h("figcaption", {}, name)))));
    }
  }

  function drawSide() {
    const score = chosen?.found?.score;
    const chart = h("div"), words = h("p", {}), verdict = h("div", { class: "row" });
    const top = Math.max(calibrated, ...good, ...results.map((entry) => entry.found?.score ?? 0)) * 1.05 || 1;
    const slider = h("input", { type: "range", id: "threshold", min: 0, max: top, step: top / 1000, value: threshold,
      oninput: () => { threshold = Number(slider.value); tell(); }, onchange: () => draw() });
    function tell() {
      const count = rejected(good, families, threshold);
      fill(chart, histogram(good, threshold, score));
      words.textContent = good.length ? `Rejects ${count.photos} of ${good.length} held-out good photos: expect at most ${percent((count.parts + 1) / (count.all + 1))} false alarms.` : "There are no held-out good photos: the rate of false alarms is not known.";
      slider.setAttribute("aria-valuetext", `${threshold.toFixed(3)}. ${words.textContent}`);
      fill(verdict, score === undefined ? h("span", { class: "muted" }, "No photo chosen") : [h("span", { class: "big" }, score.toFixed(3)), h("span", { class: score >= threshold ? "chip bad" : "chip" }, score >= threshold ? "reject" : "pass"), h("span", { class: "muted push" }, `p = ${chosen.found.p_value.toFixed(3)}`)]);
      limit.textContent = threshold.toFixed(3);
    }
    const limit = h("strong");
    fill(side, h("div", { class: "panel stack" }, h("h3", {}, "Score"), verdict, chart, h("p", { class: "muted" }, "Bars: good photos. Solid line: threshold. Dashed: this photo.")),
      h("div", { class: "panel stack" }, h("label", { htmlFor: "threshold", class: "row" }, "Threshold ", limit), slider, words,
        h("p", { class: "muted" }, "Trying it out here changes nothing for others."),
        h("button", { onclick: () => { threshold = calibrated; draw(); } }, `Back to the calibrated ${calibrated.toFixed(3)}`)));
    tell();
  }

  fill(view, h("div", { class: "work" }, h("section", { class: "panel stack", "aria-label": "Photos to inspect" }, drop, list), stage, side));
  draw();
}
