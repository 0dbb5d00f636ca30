// Photographs with the region that scored, and a heat map.

import { pictures } from "./api.js";
import { h, svg } from "./dom.js";

/**
 * A photograph that fits its place, with an outline and a heat map laid over it.
 *
 * All three are fitted in the same way ("contain"), so they agree at every size.
 */
export class Picture {
  #size = null;
  #box = null;
  #heat = null;

  constructor({ src, alt = "", box = null, eager = false }) {
    this.outline = svg("svg", { class: "outline", "aria-hidden": "true" });
    this.image = h("img", { alt, loading: eager ? "eager" : "lazy", decoding: "async", draggable: "false" });
    this.image.addEventListener("load", () => {
      this.#size = [this.image.naturalWidth, this.image.naturalHeight];
      this.#draw();
    });
    this.image.addEventListener("error", () => this.element.classList.add("broken"));
    this.image.src = src;
    this.element = h("div", { class: "picture" }, this.image, this.outline);
    this.show(box);
  }

  /** Outline a region; null for none. */
  show(box) {
    this.#box = box;
    this.#draw();
  }

  get hot() {
    return this.#heat !== null;
  }

  /** Lay a heat map over the photograph, or take it away for null. */
  heat(src) {
    this.#heat?.remove();
    this.#heat = src ? h("img", { class: "heat", alt: "", src }) : null;
    if (this.#heat) this.image.after(this.#heat);
  }

  #draw() {
    this.outline.replaceChildren();
    if (!this.#size || !this.#box) return;
    const [width, height] = this.#size;
    const [x0, y0, x1, y1] = this.#box;
    this.outline.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const place = { x: x0 * width, y: y0 * height, width: (x1 - x0) * width, height: (y1 - y0) * height };
    this.outline.append(svg("rect", { ...place, class: "halo" }), svg("rect", { ...place, class: "line" }));
  }
}

/** The thumbnail of an image. Its neighbour in text names it, so that it has no text of its own. */
export const thumbnail = (name, box = null) => new Picture({ src: pictures.thumbnail(name), box });

/** A file's name without its folder. */
export const fileName = (path) => path.split("/").at(-1);

/** A score as people read it. */
export function score(value) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(2);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}
