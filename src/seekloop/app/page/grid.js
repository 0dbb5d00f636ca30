// Lists of cards that arrows walk through; one card at a time is reached by Tab.

import { h, set } from "./dom.js";

/**
 * Cards in rows. A card is {element, item, buttons?}: its element takes the focus.
 *
 * @param {object} options - `label`: for screen readers; `key(event, index)`: called for keys that do not walk,
 *   true if it was used; `selects`: whether cards can be selected; `onselect()`
 */
export class Grid {
  cards = [];
  selected = new Set();
  #active = 0;
  #anchor = 0;

  constructor({ label, key = () => false, onselect = () => {}, className = "grid" }) {
    this.key = key;
    this.onselect = onselect;
    this.element = h("ul", { class: className, "aria-label": label });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("focusin", (event) => {
      const index = this.cards.findIndex((card) => card.element.contains(event.target));
      if (index >= 0) this.#activate(index);
    });
  }

  /** Put other cards in place of these. */
  replace(cards) {
    this.cards = [];
    this.selected.clear();
    this.#active = this.#anchor = 0;
    this.element.replaceChildren();
    this.add(cards);
    this.onselect();
  }

  add(cards) {
    for (const card of cards) {
      this.cards.push(card);
      this.#tabbable(card, this.cards.length - 1 === this.#active);
      this.element.append(h("li", {}, card.element));
    }
  }

  get active() {
    return this.#active;
  }

  focus(index = this.#active) {
    if (!this.cards.length) return;
    this.#activate(Math.min(Math.max(index, 0), this.cards.length - 1));
    const { element } = this.cards[this.#active];
    element.focus();
    element.scrollIntoView?.({ block: "nearest" });
  }

  has(element) {
    return this.element.contains(element);
  }

  /** Select a card or not; with `range` all from the last one on. */
  select(index, { range = false } = {}) {
    const name = (card) => card.item.name;
    if (range) {
      const [low, high] = [Math.min(this.#anchor, index), Math.max(this.#anchor, index)];
      this.cards.slice(low, high + 1).forEach((card) => this.selected.add(name(card)));
    } else if (!this.selected.delete(name(this.cards[index]))) this.selected.add(name(this.cards[index]));
    this.#anchor = index;
    this.onselect();
  }

  selectAll(cards) {
    cards.forEach((card) => this.selected.add(card.item.name));
    this.onselect();
  }

  clear() {
    this.selected.clear();
    this.onselect();
  }

  get selection() {
    return this.cards.filter((card) => this.selected.has(card.item.name));
  }

  #activate(index) {
    if (this.cards[this.#active]) this.#tabbable(this.cards[this.#active], false);
    this.#active = index;
    this.#tabbable(this.cards[index], true);
  }

  #tabbable(card, yes) {
    set(card.element, "tabindex", yes ? 0 : -1);
    for (const button of card.buttons ?? []) set(button, "tabindex", yes ? null : -1);
  }

  /** The card above (-1) or below (1) another: the one of the nearest row that is the least aside. */
  #beside(index, direction) {
    const here = this.cards[index].element;
    const row = this.cards
      .map(({ element }, at) => ({ at, top: element.offsetTop, aside: Math.abs(element.offsetLeft - here.offsetLeft) }))
      .filter(({ top }) => (top - here.offsetTop) * direction > 0);
    const nearest = Math.min(...row.map(({ top }) => top * direction));
    const cards = row.filter(({ top }) => top * direction === nearest);
    return cards.sort((one, other) => one.aside - other.aside)[0]?.at;
  }

  /** Where a key leads; undefined where there is no card. */
  #target(key) {
    if (key === "ArrowUp" || key === "ArrowDown") return this.#beside(this.#active, key === "ArrowUp" ? -1 : 1);
    return { ArrowLeft: this.#active - 1, ArrowRight: this.#active + 1, Home: 0, End: this.cards.length - 1 }[key];
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    if (!this.cards.length) return;
    const walks = event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End";
    const to = this.#target(event.key);
    if (walks && this.cards[to]) {
      if (event.shiftKey && this.cards[to].selectable) this.select(to, { range: true });
      this.focus(to);
    }
    if (!walks && !this.key(event, this.#active)) return;
    event.preventDefault();
    event.stopPropagation();
  }
}
