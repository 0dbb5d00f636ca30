// Drawing a box, by pointer and by keys.

import { pictures } from "./api.js";
import { button, h, svg } from "./dom.js";
import { dialog } from "./dialogs.js";
import { words } from "./words.js";

const STEP = 0.01; // of the picture, for each press of an arrow
const SMALLEST = 0.02; // side of a box
const HANDLE = { mouse: 10, touch: 22, pen: 14 }; // pixels around a corner or an edge that take hold of it
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** A box with its corners in order, at least of the smallest size, inside the picture. */
export function tidy([a, b, c, d]) {
  const span = (from, to) => {
    const low = clamp(Math.min(from, to), 0, 1 - SMALLEST);
    return [low, clamp(Math.max(from, to), low + SMALLEST, 1)];
  };
  const [x0, x1] = span(a, c);
  const [y0, y1] = span(b, d);
  return [x0, y0, x1, y1];
}

/** The box after an arrow was pressed: moved, or with shift its right and lower edge. */
export function stepped([x0, y0, x1, y1], key, resize) {
  const dx = STEP * ((key === "ArrowRight") - (key === "ArrowLeft"));
  const dy = STEP * ((key === "ArrowDown") - (key === "ArrowUp"));
  if (resize) return [x0, y0, clamp(x1 + dx, x0 + SMALLEST, 1), clamp(y1 + dy, y0 + SMALLEST, 1)];
  const [mx, my] = [clamp(dx, -x0, 1 - x1), clamp(dy, -y0, 1 - y1)];
  return [x0 + mx, y0 + my, x1 + mx, y1 + my];
}

/** A picture on which one box can be drawn, moved and sized. */
class BoxEditor {
  #size = [1, 1];
  #drag = null;

  constructor(src, box) {
    this.box = box;
    this.image = h("img", { alt: "", src, draggable: "false" });
    this.surface = svg("svg", { class: "surface" });
    this.label = h("p", { class: "hidden", role: "status" });
    this.element = h(
      "div",
      { class: "editor", tabindex: "0", role: "application", "aria-label": words.box.label, autofocus: true },
      this.image,
      this.surface,
      this.label,
    );
    this.image.addEventListener("load", () => {
      this.#size = [this.image.naturalWidth, this.image.naturalHeight];
      this.surface.setAttribute("viewBox", `0 0 ${this.#size.join(" ")}`);
      this.#draw();
    });
    new ResizeObserver(() => this.#draw()).observe(this.element);
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("pointerdown", (event) => this.#grasp(event));
    this.element.addEventListener("pointermove", (event) => this.#move(event));
    this.element.addEventListener("pointerup", (event) => this.#release(event));
    this.element.addEventListener("pointercancel", (event) => this.#release(event));
  }

  /** Set the box; null for the whole picture. */
  set(box) {
    this.box = box;
    this.#draw();
    this.label.textContent = words.box.at(box);
  }

  #key(event) {
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    this.set(this.box ? stepped(this.box, event.key, event.shiftKey) : [0.25, 0.25, 0.75, 0.75]);
  }

  /** The pointer's place in fractions of the picture, and how many fractions a screen's pixel is. */
  #place(event) {
    const matrix = this.surface.getScreenCTM();
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const [width, height] = this.#size;
    return { x: point.x / width, y: point.y / height, px: 1 / (matrix.a * width), py: 1 / (matrix.d * height) };
  }

  #grasp(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.element.focus({ focusVisible: false });
    this.element.setPointerCapture(event.pointerId);
    const at = this.#place(event);
    const held = this.#hold(at, HANDLE[event.pointerType] ?? HANDLE.mouse);
    this.#drag = { id: event.pointerId, before: this.box, from: at, ...held };
  }

  /** What the pointer takes hold of: edges of the box (a corner is two), all of it, or a new one. */
  #hold(at, reach) {
    const start = [clamp(at.x, 0, 1), clamp(at.y, 0, 1)];
    if (!this.box) return { base: [...start, ...start], edges: [2, 3] };
    const [x0, y0, x1, y1] = this.box;
    const [rx, ry] = [reach * at.px, reach * at.py];
    const inside = at.x > x0 - rx && at.x < x1 + rx && at.y > y0 - ry && at.y < y1 + ry;
    if (!inside) return { base: [...start, ...start], edges: [2, 3] };
    const nearest = (low, high, value, near, first) => {
      const [a, b] = [Math.abs(value - low), Math.abs(value - high)];
      return Math.min(a, b) > near ? [] : [a < b ? first : first + 2];
    };
    const edges = [...nearest(x0, x1, at.x, rx, 0), ...nearest(y0, y1, at.y, ry, 1)];
    return { base: this.box, edges: edges.length ? edges : [0, 1, 2, 3] };
  }

  #move(event) {
    if (this.#drag?.id !== event.pointerId) return;
    const at = this.#place(event);
    const { base, edges, from } = this.#drag;
    const whole = edges.length === 4;
    const dx = whole ? clamp(at.x - from.x, -base[0], 1 - base[2]) : clamp(at.x, 0, 1) - clamp(from.x, 0, 1);
    const dy = whole ? clamp(at.y - from.y, -base[1], 1 - base[3]) : clamp(at.y, 0, 1) - clamp(from.y, 0, 1);
    const box = [...base];
    for (const edge of edges) box[edge] += edge % 2 ? dy : dx;
    this.#drag.moved ||= Math.hypot(dx / at.px, dy / at.py) > 3;
    if (this.#drag.moved) this.set(tidy(box));
  }

  #release(event) {
    if (this.#drag?.id !== event.pointerId) return;
    if (!this.#drag.moved) this.set(this.#drag.before);
    this.#drag = null;
  }

  #draw() {
    this.surface.replaceChildren();
    if (!this.box) return;
    const [width, height] = this.#size;
    const [x0, y0, x1, y1] = this.box;
    const [left, top, right, bottom] = [x0 * width, y0 * height, x1 * width, y1 * height];
    const frame = `M0 0H${width}V${height}H0Z`;
    const shade = svg("path", { class: "shade", d: `${frame}M${left} ${top}V${bottom}H${right}V${top}Z` });
    const place = { x: left, y: top, width: right - left, height: bottom - top };
    this.surface.append(shade, svg("rect", { ...place, class: "halo" }), svg("rect", { ...place, class: "line" }));
    const radius = 6 / (this.surface.getScreenCTM()?.a || 1);
    for (const cx of [left, (left + right) / 2, right]) {
      for (const cy of [top, (top + bottom) / 2, bottom]) {
        if (cx !== (left + right) / 2 || cy !== (top + bottom) / 2) {
          this.surface.append(svg("circle", { cx, cy, r: radius, class: "handle" }));
        }
      }
    }
  }
}

/**
 * Ask for a box on an image.
 *
 * @param {{name: string, path?: string}} image - on which to draw
 * @param {object} options - `search`: its id, for uploaded pictures; `box`: proposed; `title`, `accept`: words;
 *   `named`: whether a name of the search is asked for too; `act`: what is done with {box, title}, the dialog stays
 *   open while it fails
 * @returns {Promise<boolean>} whether it was done
 */
export function drawBox(image, { search, box = null, title, accept, named = false, act }) {
  const editor = new BoxEditor(pictures.large(image.name, search), box);
  const name = h("input", { id: "search-title", type: "text", maxlength: "200", placeholder: words.box.namedExample });
  return dialog({
    title,
    label: "box",
    content: [
      editor.element,
      h("p", { class: "hint" }, words.box.how),
      named && h("p", { class: "field" }, h("label", { for: "search-title" }, words.box.named), name),
    ],
    actions: [button(words.box.whole, () => editor.set(null), { class: "quiet" })],
    accept,
    act: () => act({ box: editor.box, title: name.value.trim() }),
  });
}
