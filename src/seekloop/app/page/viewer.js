// One photograph, large.

import { AnswerButtons, KEYS, giveBox, giveExample, say } from "./answers.js";
import { pictures } from "./api.js";
import { button, h, set } from "./dom.js";
import { modal } from "./dialogs.js";
import { Picture, fileName, score } from "./picture.js";
import { words } from "./words.js";

class Viewer {
  constructor(search, items, index) {
    Object.assign(this, { search, items, index, hot: false });
    this.stage = h("div", { class: "stage" });
    this.about = h("p", { class: "about" });
    this.answers = new AnswerButtons((answer) => say(search, [this.item], answer));
    this.heatButton = button(words.viewer.heat, () => this.#heat(), { "aria-pressed": "false" });
    this.previous = button("‹", () => this.#go(-1), { "aria-label": words.viewer.previous, class: "step quiet" });
    this.next = button("›", () => this.#go(1), { "aria-label": words.viewer.next, class: "step quiet" });
    this.boxButton = button(words.viewer.box, () => giveBox(search, this.item));
    this.exampleButton = button(words.viewer.example, () => giveExample(search, this.item));
    const more = [this.heatButton, this.boxButton, this.exampleButton];
    this.content = h(
      "div",
      { class: "viewing", tabindex: "-1", autofocus: true },
      h("div", { class: "around" }, this.previous, this.stage, this.next),
      this.about,
      h("div", { class: "tools" }, this.answers.element, h("div", { class: "more" }, more)),
    );
    this.content.addEventListener("keydown", (event) => this.#key(event));
  }

  get item() {
    return this.search.seen(this.items()[this.index]);
  }

  /** Show the photograph at the place. */
  open() {
    const { item } = this;
    const src = pictures.large(item.name, this.search.id);
    this.picture = new Picture({ src, alt: fileName(item.path), box: item.answer_box ?? item.box, eager: true });
    this.stage.replaceChildren(this.picture.element);
    if (this.hot) this.#lay();
    set(this.previous, "disabled", this.index === 0);
    set(this.next, "disabled", this.index === this.items().length - 1);
    this.update();
  }

  /** Show the answer as it is now. */
  update() {
    const { item } = this;
    this.answers.show(item.answer);
    this.picture.show(item.answer_box ?? item.box);
    this.about.textContent = `${item.path} · ${words.viewer.score(score(item.score))}`;
    for (const one of [this.boxButton, this.exampleButton]) set(one, "disabled", item.answer === "example");
  }

  #lay() {
    this.picture.heat(this.hot ? pictures.heat(this.item.name, this.search.id, this.search.round) : null);
  }

  #heat() {
    this.hot = !this.hot;
    set(this.heatButton, "aria-pressed", String(this.hot));
    this.#lay();
  }

  #go(step) {
    const to = this.index + step;
    if (to < 0 || to >= this.items().length) return;
    this.index = to;
    this.open();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowLeft: () => this.#go(-1),
      ArrowRight: () => this.#go(1),
      h: () => this.#heat(),
      b: () => this.boxButton.click(),
      e: () => this.exampleButton.click(),
      z: () => this.search.undo(),
    }[event.key];
    const answer = KEYS[event.key];
    if (answer && this.item.answer !== "example") {
      say(this.search, [this.item], answer);
      this.#go(1);
    } else act?.();
    if (answer || act) event.preventDefault();
  }
}

/**
 * Look at photographs one by one.
 *
 * @param {object} search - which they are of
 * @param {() => object[]} items - as they are now
 * @param {number} index - of the first to be shown
 * @param {(index: number) => void} onclose - with the last that was shown
 */
export async function view(search, items, index, onclose = () => {}) {
  const viewer = new Viewer(search, items, index);
  const update = () => viewer.items()[viewer.index] && viewer.update();
  viewer.open();
  search.addEventListener("change", update);
  await modal({ title: words.viewer.title, label: "large", content: viewer.content });
  search.removeEventListener("change", update);
  onclose(viewer.index);
}
