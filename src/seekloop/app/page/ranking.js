// The ranking: endless, with a line down to which all can be accepted.

import { AnswerGrid } from "./answering.js";
import { api } from "./api.js";
import { attempt, confirm } from "./dialogs.js";
import { button, h, set, toast, whenNear } from "./dom.js";
import { words } from "./words.js";

const PAGE = 60;
const EDGE = 48; // pixels at the end of the list where dragging scrolls

/** Images in the order of the ranking, loaded as far as they are needed. */
class Listing {
  items = [];
  total = 0;
  above = 0;

  constructor(id) {
    this.id = id;
  }

  /** Load at least so many images; false where there are no more. */
  async reach(count) {
    while (this.items.length < count && (this.items.length < this.total || !this.items.length)) {
      const ask = Math.max(PAGE, Math.min(1000, count - this.items.length));
      const told = await api.ranking(this.id, { after: this.items.length, count: ask });
      [this.total, this.above] = [told.total, told.above];
      this.items.push(...told.images);
      if (!told.images.length) break;
    }
    return this.items.length < this.total;
  }
}

export class Ranking {
  #cut = 0;
  #chosen = false; // whether the person has set the line
  #turn = 0;
  #sentinel = null;

  constructor(search) {
    this.search = search;
    this.cards = new AnswerGrid(search, { label: words.ranking.list, className: "grid ranking-grid" });
    this.value = h("span", { class: "value" });
    this.line = h(
      "div",
      { class: "line", role: "slider", tabindex: "0", "aria-label": words.ranking.cut, "aria-valuemin": "0" },
      this.value,
    );
    this.cut = h("li", { class: "cut" }, this.line);
    this.first = h("input", { type: "number", min: "0", id: "cut-first" });
    this.total = h("span", {});
    this.zero = button("", () => this.#choose(this.listing.above), { class: "quiet small" });
    this.accept = button(words.ranking.accept, () => this.#accept(), { class: "accept small" });
    this.end = h("div", { class: "end" });
    this.bar = h("div", { class: "cut-bar", hidden: true }, [
      h("label", { for: "cut-first" }, words.ranking.first, " ", this.first),
      this.total,
      this.zero,
      this.accept,
    ]);
    this.element = h("div", { class: "ranking" }, this.bar, this.cards.bar, this.cards.element, this.end);
    this.first.addEventListener("change", () => this.#choose(Number(this.first.value)));
    this.line.addEventListener("keydown", (event) => this.#key(event));
    this.line.addEventListener("pointerdown", (event) => this.#drag(event));
    search.addEventListener("change", () => this.cards.update(() => null));
    search.addEventListener("order", () => this.load());
    this.load();
  }

  /** How many images are above the line. */
  get count() {
    return this.#cut;
  }

  /** Load the ranking anew. */
  async load() {
    const turn = ++this.#turn;
    const listing = new Listing(this.search.id);
    const { done } = await attempt(() => listing.reach(PAGE).then(() => true));
    if (!done || turn !== this.#turn) return;
    this.listing = listing;
    this.bar.hidden = false;
    this.#sentinel?.disconnect();
    this.cards.replace(listing.items.slice(0, PAGE).map((item) => this.search.seen(item)));
    if (!this.#chosen) this.#cut = listing.above;
    this.#place();
    this.total.textContent = listing.total ? words.ranking.of(listing.total) : words.ranking.none;
    this.zero.textContent = words.ranking.atZero(listing.above);
    this.#sentinel = whenNear(this.end, () => this.#more(turn));
  }

  async #more(turn) {
    const shown = this.cards.grid.cards.length;
    const { done } = await attempt(() => this.listing.reach(shown + PAGE).then(() => true));
    if (!done || turn !== this.#turn) return false;
    this.cards.add(this.listing.items.slice(shown, shown + PAGE).map((item) => this.search.seen(item)));
    this.#place();
    return shown + PAGE < this.listing.total;
  }

  #choose(count) {
    this.#chosen = true;
    this.#cut = Math.min(Math.max(Math.round(count) || 0, 0), this.listing.total);
    this.#place();
  }

  /** Put the line after the last image above it; below all that is shown if that one is further down. */
  #place() {
    this.#cut = Math.min(this.#cut, this.listing.total);
    const { cards } = this.cards.grid;
    const focused = document.activeElement === this.line;
    const before = this.#cut ? cards[Math.min(this.#cut, cards.length) - 1]?.element.parentElement : null;
    if (before) before.after(this.cut);
    else this.cards.element.prepend(this.cut);
    if (focused) this.line.focus();
    this.#tell();
  }

  #tell() {
    this.first.value = String(this.#cut);
    set(this.first, "max", this.listing.total);
    this.value.textContent = words.ranking.cutValue(this.#cut);
    set(this.line, "aria-valuemax", this.listing.total);
    set(this.line, "aria-valuenow", this.#cut);
    set(this.line, "aria-valuetext", words.ranking.cutValue(this.#cut));
    this.accept.disabled = this.#cut === 0;
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
    const to = { Home: 0, End: this.listing.total }[event.key] ?? (step ? this.#cut + step : null);
    if (to === null) return;
    event.preventDefault();
    event.stopPropagation(); // the cards' arrows
    this.#choose(to);
    this.line.scrollIntoView({ block: "nearest" });
  }

  /** Follow the pointer: while it drags, the line floats, and it drops between the two images at the end. */
  #drag(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.line.focus({ focusVisible: false });
    this.line.setPointerCapture(event.pointerId);
    const top = event.clientY - this.line.getBoundingClientRect().top;
    const { cards } = this.cards.grid;
    let count = this.#cut;
    const move = (moved) => {
      this.#scroll(moved.clientY);
      count = this.#countAt(moved.clientX, moved.clientY) ?? count;
      this.line.style.transform = "none";
      const shift = moved.clientY - top - this.line.getBoundingClientRect().top;
      this.line.style.transform = `translateY(${shift}px)`;
      this.value.textContent = words.ranking.cutValue(count);
      cards.forEach((card, index) => set(card.element, "data-above", index < count));
    };
    const drop = () => {
      this.line.removeEventListener("pointermove", move);
      this.line.removeEventListener("pointerup", drop);
      this.line.removeEventListener("pointercancel", drop);
      this.line.style.transform = "";
      cards.forEach((card) => set(card.element, "data-above", null));
      this.#choose(count);
    };
    this.line.addEventListener("pointermove", move);
    this.line.addEventListener("pointerup", drop);
    this.line.addEventListener("pointercancel", drop);
  }

  /** Images above a point of the screen, in reading order. */
  #countAt(x, y) {
    const { cards } = this.cards.grid;
    const row = cards
      .map((card, index) => ({ index, place: card.element.getBoundingClientRect() }))
      .filter(({ place }) => y >= place.top && y <= place.bottom);
    if (!row.length) return this.#between(cards, y);
    return row[0].index + row.filter(({ place }) => x > (place.left + place.right) / 2).length;
  }

  #between(cards, y) {
    const below = cards.findIndex((card) => card.element.getBoundingClientRect().top > y);
    return below < 0 ? cards.length : below;
  }

  #scroll(y) {
    const panel = this.element.closest(".panel-body");
    const scroller = panel.scrollHeight > panel.clientHeight ? panel : document.scrollingElement;
    const { top, bottom } = scroller === panel ? panel.getBoundingClientRect() : { top: 0, bottom: innerHeight };
    if (y < top + EDGE) scroller.scrollTop -= 16;
    else if (y > bottom - EDGE) scroller.scrollTop += 16;
  }

  async #accept() {
    const { listing } = this;
    const count = this.#cut;
    const { done, why } = await attempt(() => listing.reach(count).then(() => true));
    if (!done) return toast(why, "error");
    const { cards } = this.cards.grid; // they know of answers since the ranking was loaded
    const above = listing.items.slice(0, count).map((item, index) => cards[index]?.item ?? item);
    const open = above.filter((item) => !item.answer).length;
    if (!open) return toast(words.ranking.acceptNone);
    const { acceptTitle, acceptAbout, acceptGo } = words.ranking;
    confirm(acceptTitle, acceptAbout(open, count), acceptGo(open), () => this.search.accept(count));
    return undefined;
  }
}
