// The question: photographs to answer, and the way to the next ones.

import { AnswerGrid } from "./answering.js";
import { asksBox } from "./answers.js";
import { announce, button, h, set, settings, toast } from "./dom.js";
import { words } from "./words.js";

const MOMENT = 900; // milliseconds in which the last answer can still be changed

export class Question {
  #timer = null;
  #answered = false; // since the question came, or came back: only then does it go on by itself

  constructor(search) {
    this.search = search;
    this.cards = new AnswerGrid(search, {
      label: words.question.list,
      className: "grid question-grid",
      onenter: () => this.enter(),
    });
    this.state = h("span", { class: "state" });
    this.nextButton = button(words.question.next, () => this.#next(), { class: "primary next" });
    this.auto = h("input", { type: "checkbox", id: "go-on" });
    this.auto.checked = settings.get("goOn", true);
    this.auto.addEventListener("change", () => {
      settings.set("goOn", this.auto.checked);
      this.#plan();
    });
    this.element = h(
      "section",
      { class: "question", "aria-labelledby": "question-title" },
      h("h2", { id: "question-title", tabindex: "-1" }, words.question.title),
      this.cards.element,
      h(
        "div",
        { class: "bar" },
        this.cards.bar,
        this.state,
        h("label", { for: "go-on", class: "auto" }, this.auto, words.question.auto),
        this.nextButton,
      ),
    );
    search.addEventListener("change", () => this.#update());
    search.addEventListener("round", () => this.#came());
    search.addEventListener("answered", () => (this.#answered = true));
    search.addEventListener("order", () => {
      this.#answered = false;
      this.#plan();
    });
    this.cards.replace(search.question);
    this.#update();
  }

  /** Put the focus where answering goes on. */
  focus() {
    const open = this.search.question.findIndex((item) => !item.answer);
    this.cards.grid.focus(Math.max(open, 0));
  }

  /** Go on if all is answered; otherwise show what is not. */
  enter() {
    if (!this.search.unanswered) this.#next();
    else {
      toast(words.question.unansweredFirst);
      this.focus();
    }
  }

  #next() {
    clearTimeout(this.#timer);
    this.#busy(true);
    this.search.next().then(() => this.#busy(false));
  }

  #busy(yes) {
    set(this.element, "aria-busy", yes ? "true" : null);
    this.nextButton.disabled = yes || !this.search.question.length;
  }

  #came() {
    const focused = this.cards.grid.has(document.activeElement) || document.activeElement === document.body;
    this.#answered = false;
    this.cards.replace(this.search.question);
    this.#update();
    announce(words.question.came(this.search.round, this.search.question.length));
    if (focused || document.activeElement === this.nextButton) this.focus();
  }

  #update() {
    const items = new Map(this.search.question.map((item) => [item.name, item]));
    this.cards.update((name) => items.get(name));
    this.#plan();
  }

  /** Say what is left, and go on by itself after a moment if nothing is. */
  #plan() {
    clearTimeout(this.#timer);
    const { question, unanswered } = this.search;
    const boxes = question.some(asksBox);
    const goes = this.auto.checked && this.#answered && question.length > 0 && !unanswered && !boxes;
    const done = goes ? words.question.wait : boxes ? words.question.boxes : words.question.all;
    this.state.textContent = !question.length ? words.question.none : unanswered ? words.question.left(unanswered) : done;
    this.nextButton.disabled = !question.length || this.element.hasAttribute("aria-busy");
    set(this.element, "data-ready", question.length > 0 && !unanswered);
    if (goes && !this.element.hasAttribute("aria-busy")) this.#timer = setTimeout(() => this.#ready(), MOMENT);
  }

  /** Go on, but not behind an open dialog. */
  #ready() {
    if (document.querySelector("dialog[open]")) this.#timer = setTimeout(() => this.#ready(), MOMENT);
    else this.#next();
  }
}
