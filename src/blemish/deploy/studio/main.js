// Which part of the studio is shown, by the address after #.

import { get } from "./api.js";
import { failure, fill, h } from "./dom.js";
import { inspectView } from "./inspect.js";
import { paintView } from "./paint.js";
import { reportsView } from "./reports.js";
import { reviewView } from "./review.js";

const VIEWS = { inspect: inspectView, paint: paintView, review: reviewView, reports: reportsView };
const view = document.getElementById("view");
let leave = null;
let shown = 0; // how often a part was chosen: one that is still loading may be left

async function show(models) {
  const name = location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "inspect";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${name[0].toUpperCase()}${name.slice(1)} · blemish studio`;
  leave?.();
  leave = null;
  const mine = ++shown;
  const room = h("div", { class: "room" }, h("p", { class: "muted" }, h("span", { class: "spin" }), " Loading"));
  fill(view, room);
  try {
    const left = await VIEWS[name](room, models);
    if (mine === shown) leave = left;
    else left?.();
  } catch (error) {
    fill(room, failure(error));
  }
}

async function start() {
  try {
    const models = await get("/models");
    const { detector } = models;
    document.getElementById("model").textContent = `${detector.name} · ${detector.precision} · ${detector.runs_on}`;
    window.addEventListener("hashchange", () => show(models));
    await show(models);
  } catch (error) {
    fill(view, failure(error), h("p", {}, h("button", { onclick: () => location.reload() }, "Try again")));
  }
}

start();
