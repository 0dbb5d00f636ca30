// Cards of photographs that are answered yes, no or unsure, by buttons, by keys, and many at once.

import { ANSWERS, AnswerButtons, KEYS, asksBox, giveBox, giveExample, say } from "./answers.js";
import { pictures } from "./api.js";
import { button, h, set } from "./dom.js";
import { Grid } from "./grid.js";
import { fileName, score, thumbnail } from "./picture.js";
import { view } from "./viewer.js";
import { words } from "./words.js";

/** One photograph with its score, region and answer. */
class AnswerCard {
  selectable = true;

  constructor(item, grid, { number, of }) {
    this.grid = grid;
    this.place = { number, of };
    this.picture = thumbnail(item.name, item.box);
    const act = (operation) => () => operation(this);
    this.photo = button("", act(grid.open), { class: "photo", "aria-label": words.answer.open });
    this.photo.append(this.picture.element);
    this.badge = h("span", { class: "badge", "aria-hidden": "true" });
    this.choose = button("", (event) => grid.choose(this, event), { class: "choose", "aria-label": words.answer.select });
    this.answers = new AnswerButtons((answer) => say(grid.search, [this.item], answer));
    this.boxes = h("div", { class: "box-wanted", role: "group", "aria-label": words.question.boxWanted }, [
      h("span", {}, words.question.boxWanted),
      button(words.question.boxAccept, () => say(grid.search, [this.item], "yes", this.item.box), { class: "small" }),
      button(words.question.boxCorrect, act(grid.box), { class: "small quiet" }),
    ]);
    this.score = h("span", { class: "score", title: words.answer.score });
    this.file = h("span", { class: "file", title: item.path }, fileName(item.path));
    this.element = h(
      "div",
      { class: "card", role: "group", "data-name": item.name },
      h("div", { class: "frame" }, this.photo, this.badge, this.choose),
      this.boxes,
      h("div", { class: "caption", "aria-hidden": "true" }, this.score, this.file),
      this.answers.element,
    );
    this.buttons = [...this.element.querySelectorAll("button")];
    this.element.addEventListener("click", (event) => {
      if (!event.shiftKey && !event.ctrlKey && !event.metaKey) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      grid.choose(this, event);
    }, { capture: true });
    this.show(item);
  }

  /** Show another score, region or answer of the same image. */
  show(item) {
    this.item = item;
    const selected = this.grid.selected.has(item.name);
    const shown = JSON.stringify([item, selected]);
    if (shown === this.shown) return;
    this.shown = shown;
    this.picture.show(item.answer_box ?? item.box);
    this.answers.show(item.answer);
    this.score.textContent = score(item.score);
    this.badge.textContent = words.answer.signs[item.answer] ?? "";
    set(this.element, "data-answer", item.answer);
    set(this.element, "data-selected", selected);
    set(this.choose, "aria-pressed", String(selected));
    this.boxes.hidden = !asksBox(item);
    const told = { ...this.place, file: fileName(item.path), score: score(item.score), answer: item.answer };
    set(this.element, "aria-label", words.answer.card({ ...told, selected, box: Boolean(item.answer_box) }));
  }
}

/**
 * Cards that are answered.
 *
 * @param {object} search - whose images they are
 * @param {object} options - `label`, `className`; `onenter()`: for the key Enter
 */
export class AnswerGrid {
  constructor(search, { label, className, onenter = () => {} }) {
    this.search = search;
    this.onenter = onenter;
    const key = (event, index) => this.#key(event, index);
    this.grid = new Grid({ label, className, key, onselect: () => this.#selection() });
    this.count = h("span", {});
    this.bar = h("div", { class: "selection", role: "group", "aria-live": "polite", hidden: true }, [
      this.count,
      ANSWERS.map((answer) => button(words.answer[answer], () => this.#answer(this.grid.selection, answer))),
      button(words.answer.clear, () => this.grid.clear(), { class: "quiet" }),
    ]);
    this.open = (card) => this.#open(card);
    this.box = (card) => giveBox(search, card.item);
  }

  get element() {
    return this.grid.element;
  }

  get selected() {
    return this.grid.selected;
  }

  /** Show other images. */
  replace(items) {
    this.of = items.length;
    this.grid.replace(this.#cards(items, items.length));
  }

  /** Show further images. */
  add(items) {
    this.grid.add(this.#cards(items, 0));
  }

  /** Show answers as they are now; `item(name)` gives an image by its name. */
  update(item) {
    for (const card of this.grid.cards) card.show(item(card.item.name) ?? this.search.seen(card.item));
  }

  choose(card, event) {
    this.grid.select(this.grid.cards.indexOf(card), { range: event.shiftKey });
  }

  #cards(items, of) {
    const before = of ? 0 : this.grid.cards.length;
    return items.map((item, index) => new AnswerCard(item, this, { number: before + index + 1, of }));
  }

  #selection() {
    const { selected, cards } = this.grid;
    this.bar.hidden = selected.size === 0;
    this.count.textContent = words.answer.selected(selected.size);
    for (const card of cards) card.show(card.item);
  }

  #answer(cards, answer) {
    this.grid.clear();
    say(this.search, cards.map((card) => card.item), answer);
  }

  #open(card) {
    const at = () => this.grid.cards.map((one) => one.item);
    return view(this.search, at, this.grid.cards.indexOf(card), (index) => this.grid.focus(index));
  }

  /**
   * Answer one card and go to the next; after the last to the first that is open.
   *
   * Another yes to a card that asks for a box accepts the proposed one.
   */
  #answerAt(index, answer) {
    const { cards } = this.grid;
    const { item } = cards[index];
    const accepts = answer === "yes" && asksBox(item);
    say(this.search, [item], answer, accepts ? item.box : undefined);
    const open = cards.findIndex((card) => !card.item.answer);
    const boxes = cards.findIndex((card) => asksBox(card.item));
    if (!accepts && index + 1 < cards.length) this.grid.focus(index + 1);
    else if (open >= 0 || boxes >= 0) this.grid.focus(open >= 0 ? open : boxes);
  }

  #heat(card) {
    const src = card.picture.hot ? null : pictures.heat(card.item.name, this.search.id, this.search.round);
    card.picture.heat(src);
  }

  #key(event, index) {
    const card = this.grid.cards[index];
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const onButton = event.target !== card.element;
    if (onButton && (pressed === "Enter" || pressed === " ")) return false;
    if (KEYS[pressed]) {
      if (this.selected.size) this.#answer(this.grid.selection, KEYS[pressed]);
      else if (card.item.answer !== "example") this.#answerAt(index, KEYS[pressed]);
      return true;
    }
    const act = {
      Backspace: () => card.item.answer && say(this.search, [card.item], null),
      b: () => this.box(card),
      e: () => giveExample(this.search, card.item),
      o: () => this.open(card),
      h: () => this.#heat(card),
      " ": () => this.grid.select(index),
      a: () => this.#selectOpen(),
      Escape: () => this.grid.clear(),
      Enter: () => this.onenter(),
    }[pressed];
    act?.();
    return Boolean(act);
  }

  #selectOpen() {
    const open = this.grid.cards.filter((card) => !card.item.answer);
    this.grid.selectAll(open.length ? open : this.grid.cards);
  }
}
