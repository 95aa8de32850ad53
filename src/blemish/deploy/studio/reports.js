// Reports: pages that evaluate, reproduce and demo have written.

import * as api from "./api.js";
import { empty, fill, h } from "./dom.js";

export async function reportsView(view, models) {
  if (!models.studio.reports) {
    fill(view, empty("No reports", "The service was started without a folder of reports.", "blemish serve DETECTOR --reports runs"));
    return;
  }
  const reports = await api.get("/reports");
  if (!reports.length) {
    fill(view, empty("No reports yet", "Evaluate the detector, and its report appears here.", "blemish evaluate DETECTOR DATASET"));
    return;
  }
  const frame = h("iframe", { title: "Report", sandbox: "allow-scripts" });
  const list = h("ul", { class: "list" });
  function choose(report) {
    frame.title = report.title;
    frame.src = api.address(`/reports/${report.id}`);
    for (const button of list.querySelectorAll("button")) {
      if (button.value === report.id) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }
  fill(list, reports.map((report) => h("li", {}, h("button", { class: "words", value: report.id, onclick: () => choose(report) }, h("span", {}, report.title, h("br"), h("span", { class: "muted" }, report.path.replaceAll("/", "/\u200b")))))));
  fill(view, h("div", { class: "work two" }, h("section", { class: "panel stack", "aria-label": "Reports" }, h("h3", {}, "Reports"), list), h("section", { class: "panel", "aria-label": "The report" }, frame)));
  choose(reports[0]);
}
