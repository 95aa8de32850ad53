// A mask painted over a photo: brush, eraser, undo; mouse, pen, touch and keyboard.

import { h, typing } from "./dom.js";

const UNDO = 40;

export class MaskEditor {
  constructor(onchange = () => {}) {
    this.onchange = onchange;
    this.mask = document.createElement("canvas");
    this.past = [];
    this.future = [];
    this.erasing = false;
    this.cursor = null;
    this.canvas = h("canvas", { tabIndex: 0, role: "application", "aria-label": "Mask. Paint with the pointer, or move with the arrow keys and paint with the space bar." });
    this.size = h("input", { type: "range", min: 1, max: 80, value: 14, "aria-label": "Size of the brush" });
    this.brush = this.#tool("Brush", "B", () => this.#use(false));
    this.eraser = this.#tool("Eraser", "E", () => this.#use(true));
    this.undoing = this.#tool("Undo", "Z", () => this.undo());
    this.redoing = this.#tool("Redo", "Y", () => this.redo());
    this.clearing = h("button", { onclick: () => this.clear() }, "Clear");
    this.showing = h("button", { "aria-pressed": "true", onclick: () => this.show(!this.shown) }, "Mask", h("kbd", { "aria-hidden": "true" }, "M"));
    this.shown = true;
    this.element = h("div", { class: "stack" },
      h("div", { class: "row", role: "toolbar", "aria-label": "Tools of the mask" },
        h("span", { class: "segments" }, this.brush, this.eraser), this.undoing, this.redoing, this.clearing, this.showing,
        h("label", { class: "row push" }, "Size ", this.size)),
      h("div", { class: "canvas" }, this.canvas));
    this.#use(false);
    this.#listen();
  }

  #tool(name, key, action) {
    return h("button", { onclick: action }, name, h("kbd", { "aria-hidden": "true" }, key));
  }

  #use(erasing) {
    this.erasing = erasing;
    this.brush.setAttribute("aria-pressed", String(!erasing));
    this.eraser.setAttribute("aria-pressed", String(erasing));
  }

  // Shows a photo (an address) and, where there is one, the mask to start from.
  async open(photo, mask = null) {
    const opening = Symbol("opening");
    this.opening = opening;
    const [image, start] = await Promise.all([loaded(photo), mask && loaded(mask)]);
    if (this.opening !== opening) return;
    this.photo = image;
    for (const canvas of [this.mask, this.canvas]) Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight });
    const zoom = Math.max(1, Math.min(900 / image.naturalWidth, 560 / image.naturalHeight));
    this.canvas.style.width = `${image.naturalWidth * zoom}px`;
    this.past = [];
    this.future = [];
    this.cursor = null;
    if (start) this.#paintFrom(start);
    this.#draw();
    this.onchange();
  }

  #paintFrom(image) {
    const pen = this.mask.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, this.mask.width, this.mask.height);
    for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i] > 0 ? 255 : 0;
    pen.putImageData(pixels, 0, 0);
  }

  get empty() {
    const { data } = this.#pixels();
    for (let i = 3; i < data.length; i += 4) if (data[i] > 127) return false;
    return true;
  }

  // White where the mask is, black elsewhere: a PNG in base64.
  png() {
    const made = document.createElement("canvas");
    Object.assign(made, { width: this.mask.width, height: this.mask.height });
    const pixels = this.#pixels();
    for (let i = 0; i < pixels.data.length; i += 4) {
      pixels.data.fill(pixels.data[i + 3] > 127 ? 255 : 0, i, i + 3);
      pixels.data[i + 3] = 255;
    }
    made.getContext("2d").putImageData(pixels, 0, 0);
    return made.toDataURL("image/png");
  }

  #pixels() {
    return this.mask.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, this.mask.width || 1, this.mask.height || 1);
  }

  // The mask hides a little of what it marks: it can be lifted to look below.
  show(shown) {
    this.shown = shown;
    this.showing.setAttribute("aria-pressed", String(shown));
    this.#draw();
  }

  undo() { this.#step(this.past, this.future); }
  redo() { this.#step(this.future, this.past); }

  clear() {
    if (this.empty) return;
    this.#remember();
    this.mask.getContext("2d").clearRect(0, 0, this.mask.width, this.mask.height);
    this.#changed();
  }

  #step(from, to) {
    if (!from.length) return;
    to.push(this.#pixels());
    this.mask.getContext("2d").putImageData(from.pop(), 0, 0);
    this.#changed();
  }

  #remember() {
    this.past.push(this.#pixels());
    if (this.past.length > UNDO) this.past.shift();
    this.future = [];
  }

  #changed() {
    this.#draw();
    this.onchange();
  }

  #line(from, to) {
    const pen = this.mask.getContext("2d");
    pen.globalCompositeOperation = this.erasing ? "destination-out" : "source-over";
    Object.assign(pen, { lineCap: "round", lineJoin: "round", lineWidth: Number(this.size.value), strokeStyle: "#fff" });
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.lineTo(to.x + 0.01, to.y);
    pen.stroke();
    pen.globalCompositeOperation = "source-over";
    this.#draw();
  }

  #draw() {
    if (!this.photo) return;
    const pen = this.canvas.getContext("2d"), tint = document.createElement("canvas");
    Object.assign(tint, { width: this.mask.width, height: this.mask.height });
    const ink = tint.getContext("2d");
    ink.drawImage(this.mask, 0, 0);
    ink.globalCompositeOperation = "source-in";
    ink.fillStyle = "#00c8e6";
    ink.fillRect(0, 0, tint.width, tint.height);
    pen.drawImage(this.photo, 0, 0);
    pen.globalAlpha = this.shown ? 0.45 : 0;
    pen.drawImage(tint, 0, 0);
    pen.globalAlpha = 1;
    this.undoing.disabled = !this.past.length;
    this.redoing.disabled = !this.future.length;
    const at = this.cursor;
    if (at) for (const [colour, width] of [["#000", 3], ["#fff", 1.5]]) {
      Object.assign(pen, { strokeStyle: colour, lineWidth: width });
      pen.beginPath();
      pen.arc(at.x, at.y, Math.max(2, Number(this.size.value) / 2), 0, 7);
      pen.stroke();
    }
  }

  #listen() {
    let last = null;
    const place = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return { x: ((event.clientX - box.left) * this.canvas.width) / box.width, y: ((event.clientY - box.top) * this.canvas.height) / box.height };
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      if (!this.photo || event.button !== 0) return;
      this.canvas.setPointerCapture(event.pointerId);
      this.#remember();
      this.cursor = null;
      last = place(event);
      this.#line(last, last);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      for (const one of event.getCoalescedEvents?.() ?? [event]) {
        const now = place(one);
        this.#line(last, now);
        last = now;
      }
    });
    const end = () => { if (last) { last = null; this.#changed(); } };
    this.canvas.addEventListener("pointerup", end);
    this.canvas.addEventListener("pointercancel", end);
    this.canvas.addEventListener("blur", () => { this.cursor = null; this.#draw(); });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("keydown", (event) => {
      const key = event.key.toLowerCase();
      const commanded = event.ctrlKey || event.metaKey;
      if (!commanded && typing(event)) return;
      const action = { b: () => this.#use(false), e: () => this.#use(true), z: () => (event.shiftKey ? this.redo() : this.undo()), y: () => this.redo(), m: () => this.show(!this.shown) }[key];
      if (!action || (commanded && !"zy".includes(key))) return;
      event.preventDefault();
      event.stopPropagation();
      action();
    });
  }

  #key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!this.photo || (!step && event.key !== " ")) return;
    event.preventDefault();
    event.stopPropagation();
    this.cursor ??= { x: this.canvas.width / 2, y: this.canvas.height / 2 };
    if (step) {
      const far = event.shiftKey ? 1 : Math.max(2, Number(this.size.value) / 2);
      this.cursor = {
        x: Math.min(this.canvas.width, Math.max(0, this.cursor.x + step[0] * far)),
        y: Math.min(this.canvas.height, Math.max(0, this.cursor.y + step[1] * far)),
      };
      this.#draw();
    } else {
      this.#remember();
      this.#line(this.cursor, this.cursor);
      this.#changed();
    }
  }
}

function loaded(url) {
  return new Promise((done, failed) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => failed(new Error("A picture could not be loaded."));
    image.src = url;
  });
}
