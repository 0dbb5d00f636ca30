// What was said so far: every answer, to be corrected or withdrawn.

import { api } from "./api.js";
import { attempt } from "./dialogs.js";
import { button, h, whenNear } from "./dom.js";
import { fileName, score, thumbnail } from "./picture.js";
import { words } from "./words.js";

const PAGE = 50;
const KINDS = ["yes", "no", "unsure", "example"];

export class Said {
  #told = [];
  #turn = 0;
  #version = -1;
  #sentinel = null;

  constructor(search, view) {
    Object.assign(this, { search, view });
    const options = ["all", ...KINDS].map((kind) => h("option", { value: kind }, words.said.options[kind] ?? words.said.all));
    this.kind = h("select", { id: "said-kind", onchange: () => this.#show() }, options);
    this.list = h("ul", { class: "said-list", "aria-label": words.said.list });
    this.end = h("div", { class: "end" });
    this.element = h(
      "div",
      { class: "said" },
      h("p", { class: "field" }, h("label", { for: "said-kind" }, words.said.show), this.kind),
      this.list,
      this.end,
    );
    search.addEventListener("change", () => search.told.version !== this.#version && this.load());
    this.load();
  }

  /** Load the answers anew; only the last of several calls counts. */
  async load() {
    const turn = ++this.#turn;
    this.#version = this.search.told.version;
    const { done } = await attempt(async () => {
      const { answers } = await api.said(this.search.id);
      if (turn === this.#turn) this.#told = answers;
    });
    if (done && turn === this.#turn) this.#show();
  }

  #show() {
    const items = this.#told.filter((item) => this.kind.value === "all" || item.answer === this.kind.value);
    const focused = document.activeElement?.closest?.(".said-list li");
    const at = focused ? [...this.list.children].indexOf(focused) : -1;
    const shown = Math.max(PAGE, this.list.children.length);
    this.list.replaceChildren(...items.slice(0, shown).map((item) => this.#row(item)));
    if (!items.length) this.list.append(h("li", { class: "none" }, words.said.none));
    if (at >= 0) this.list.children[Math.min(at, this.list.children.length - 1)].querySelector("button")?.focus();
    this.#sentinel?.disconnect();
    let next = shown;
    this.#sentinel = whenNear(this.end, () => {
      this.list.append(...items.slice(next, next + PAGE).map((item) => this.#row(item)));
      next += PAGE;
      return next < items.length;
    });
  }

  #row(item) {
    const file = fileName(item.path);
    const photo = button("", () => this.view(item), { class: "photo", "aria-label": `${words.answer.open}: ${file}` });
    photo.append(thumbnail(item.name, item.box).element);
    return h(
      "li",
      { "data-answer": item.answer },
      photo,
      h(
        "div",
        { class: "what" },
        h("span", { class: "file", title: item.path }, file),
        h("span", { class: "hint" }, `${words.said.round(item.round)} · ${words.viewer.score(score(item.score))}`),
        item.answer === "example" ? h("span", { class: "tag" }, words.said.options.example) : this.#correct(item, file),
      ),
      button("✕", () => this.search.withdraw(item.name), {
        class: "quiet",
        "aria-label": words.said.revokeOf(file),
        title: words.said.revoke,
      }),
    );
  }

  #correct(item, file) {
    const correct = () => this.search.answer([{ name: item.name, answer: select.value, box: null }]);
    const options = ["yes", "no", "unsure"].map((kind) => h("option", { value: kind }, words.said.options[kind]));
    const select = h("select", { "aria-label": words.said.correct(file), onchange: correct }, options);
    select.value = item.answer;
    return select;
  }
}
