// The scores of good photos as bars, with the threshold and the photo at hand.

import { svg } from "./dom.js";

const WIDTH = 280, HEIGHT = 120, BASE = 98, BINS = 24;

export function histogram(good, threshold, score) {
  const top = Math.max(threshold, score ?? 0, ...good) * 1.05 || 1;
  const counts = new Array(BINS).fill(0);
  for (const value of good) counts[Math.min(BINS - 1, Math.floor((value / top) * BINS))] += 1;
  const most = Math.max(1, ...counts);
  const x = (value) => 4 + (value / top) * (WIDTH - 8);
  const bars = counts.map((count, bin) => {
    const height = (count / most) * 78;
    return svg("rect", { x: x((bin * top) / BINS) + 0.5, y: BASE - height, width: (WIDTH - 8) / BINS - 1, height });
  });
  const line = (value, kind) => svg("line", { class: kind, x1: x(value), x2: x(value), y1: 8, y2: BASE });
  const label = (text, at, anchor) => {
    const made = svg("text", { x: at, y: 114, "text-anchor": anchor });
    made.textContent = text;
    return made;
  };
  return svg(
    "svg",
    {
      class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img",
      "aria-label": `Scores of ${good.length} good photos; threshold ${threshold.toFixed(3)}` + (score === undefined ? "" : `, this photo ${score.toFixed(3)}`),
    },
    svg("g", { class: "bars" }, ...bars),
    svg("line", { class: "axis", x1: 4, x2: WIDTH - 4, y1: BASE, y2: BASE }),
    line(threshold, "limit"),
    ...(score === undefined ? [] : [line(score, "here")]),
    label("0", 4, "start"),
    label(top.toFixed(2), WIDTH - 4, "end"),
  );
}

// How many held-out good photos a threshold rejects, and of how many parts of all: of a part that
// several photos show, the share of these.
export function rejected(scores, families, threshold) {
  const sizes = new Map();
  for (const family of families) sizes.set(family, (sizes.get(family) ?? 0) + 1);
  const hit = families.filter((_, n) => scores[n] >= threshold);
  return { photos: hit.length, parts: hit.reduce((sum, family) => sum + 1 / sizes.get(family), 0), all: sizes.size };
}
