// Elements, short notices and errors.

export function h(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name in made && !name.startsWith("aria")) made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function svg(tag, props = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function fill(place, ...children) {
  place.replaceChildren(...children.flat().filter(Boolean));
}

export function toast(text, bad = false) {
  const note = h("p", { class: bad ? "bad" : "" }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), bad ? 9000 : 4000);
}

export function failure(error) {
  return h("div", { class: "error", role: "alert" }, h("strong", {}, error.message), error.hint ?? "");
}

export function empty(title, text, command) {
  return h("div", { class: "panel empty" }, h("h2", {}, title), h("p", {}, text), command && h("code", {}, command));
}

export function scores(values) {
  const rows = Object.entries(values)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value.toFixed(2))));
  return h("table", { "aria-label": "Quality scores" }, h("tbody", {}, rows));
}

export function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

// Keys of one letter, which must not be taken from somebody who types.
export function typing(event) {
  return event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
}
