// The view of one search: its question, and beside it ranking, answers and progress.

import { api } from "./api.js";
import { drawBox } from "./box.js";
import { choosing } from "./choosing.js";
import { ask, confirm, dialog, menu, modal } from "./dialogs.js";
import { announce, button, h, set, settings, toast } from "./dom.js";
import { exportSearch } from "./export.js";
import { Progress } from "./progress.js";
import { Question } from "./question.js";
import { Ranking } from "./ranking.js";
import { Said } from "./said.js";
import { Tabs } from "./tabs.js";
import { view } from "./viewer.js";
import { words } from "./words.js";

export class Working {
  /**
   * @param {object} status - of the server
   * @param {object} search - that is shown
   * @param {(told: object) => void} onsearch - with another search to be shown
   * @param {() => void} onleave - to the list of searches
   */
  constructor(status, search, onsearch, onleave) {
    Object.assign(this, { status, search, onsearch, onleave });
    this.question = new Question(search);
    this.ranking = new Ranking(search);
    this.tabs = new Tabs(
      words.panels.label,
      [
        { name: "ranking", text: words.panels.ranking, content: () => this.ranking.element },
        { name: "said", text: words.panels.said, content: () => new Said(search, (item) => view(search, () => [item], 0)).element },
        { name: "progress", text: words.panels.progress, content: () => new Progress(search).element },
      ],
      { chosen: settings.get("panel", "ranking"), onchange: (name) => settings.set("panel", name) },
    );
    this.widen = button("", () => this.#widen(), { class: "quiet small widen" });
    this.#tellWidth(false);
    const panel = h("aside", { class: "panel", "aria-label": words.panels.label }, [
      h("div", { class: "panel-head" }, this.tabs.list, this.widen),
      this.tabs.body,
    ]);
    this.main = h("main", { class: "working", id: "main" }, this.question.element, panel);
    this.element = h("div", { class: "search" }, this.#header(), this.main);
    search.addEventListener("change", () => this.#update());
    search.addEventListener("refused", ({ detail }) => toast(detail, "error"));
    search.addEventListener("gone", () => {
      toast(words.gone, "error");
      this.onleave();
    });
    this.#update();
  }

  /** Put the focus where answering goes on. */
  focus() {
    this.question.focus();
  }

  /** Keys that work wherever the focus is; true if one was used. */
  key(event) {
    const act = { z: () => this.#undo(), Enter: () => this.question.enter() }[event.key];
    act?.();
    return Boolean(act);
  }

  #header() {
    this.title = h("h1", {});
    this.state = h("p", { class: "search-state" });
    this.undo = button(words.search.undo, () => this.#undo());
    return h(
      "header",
      { class: "search-head" },
      h("a", { href: "#", class: "button quiet" }, `‹ ${words.search.toSearches}`),
      h("div", { class: "name" }, this.title, this.state),
      this.#criteria(),
      h("div", { class: "actions" }, [
        this.undo,
        button(words.search.example, () => this.#addExample()),
        button(words.search.export, () => exportSearch(this.search, this.ranking.count)),
        menu(words.search.more, () => this.#entries()),
      ]),
    );
  }

  /** The two main ways to choose questions as a switch, the others in a menu. */
  #criteria() {
    const choose = (name) => () => name !== this.search.told.criterion && this.search.criterion(name);
    const [first, second, ...others] = this.status.criteria;
    this.main2 = [first, second]
      .filter(Boolean)
      .map(({ name, label }) => button(words.sentence(label), choose(name), { "data-criterion": name }));
    const checked = ({ name }) => name === this.search.told.criterion;
    const entries = () => others.map((one) => ({ text: words.sentence(one.label), act: choose(one.name), checked: checked(one) }));
    this.others = others;
    this.other = others.length
      ? menu(words.search.otherCriteria, entries, { "aria-label": words.search.otherCriteriaLabel })
      : null;
    return h("div", { class: "switch", role: "group", "aria-label": words.search.criterion }, this.main2, this.other);
  }

  #entries() {
    return [
      { text: words.search.rename, act: () => this.#rename() },
      { text: words.search.fork, act: () => this.#fork() },
      { text: words.search.finish, act: () => this.#finish() },
      { text: words.search.keys, act: () => showKeys() },
      { text: words.search.remove, act: () => this.#remove(), danger: true },
    ];
  }

  get #name() {
    const { title, words: text } = this.search.told;
    return title || text || words.search.untitled;
  }

  #update() {
    const { told } = this.search;
    const { round, found } = { round: told.round, found: told.progress.found };
    this.title.textContent = this.#name;
    document.title = `${this.#name} – ${words.name}`;
    const learning = told.learning ? ` · ${words.search.learning}` : "";
    this.state.textContent = `${words.search.round(round)} · ${words.search.found(found)}${learning}`;
    this.undo.disabled = !told.can_undo && !this.search.waiting;
    for (const one of this.main2) set(one, "aria-pressed", String(one.dataset.criterion === told.criterion));
    const other = this.others.find(({ name }) => name === told.criterion);
    if (this.other) {
      const opener = this.other.querySelector("button");
      opener.textContent = other ? words.sentence(other.label) : words.search.otherCriteria;
      opener.classList.toggle("on", Boolean(other));
    }
    if (told.notice && told.notice !== this.notice) toast(words.sentence(told.notice));
    this.notice = told.notice;
  }

  async #undo() {
    if (this.undo.disabled) return;
    if ((await this.search.undo()) && this.search.told.undone) toast(words.search.undone(this.search.told.undone));
  }

  #widen() {
    const wide = this.main.toggleAttribute("data-wide");
    this.#tellWidth(wide);
  }

  #addExample() {
    const chosen = async (image) => {
      const added = await drawBox(image, {
        search: this.search.id,
        title: words.box.exampleTitle,
        accept: words.box.exampleAccept,
        act: ({ box }) => this.search.example(image.name, box),
      });
      if (!added) return;
      content.closest("dialog").close();
      toast(words.search.exampleAdded);
    };
    const content = choosing(chosen);
    return modal({ title: words.search.exampleTitle, label: "choose-dialog", content });
  }

  #tellWidth(wide) {
    this.widen.textContent = wide ? "⇥" : "⇤";
    for (const name of ["aria-label", "title"]) set(this.widen, name, wide ? words.narrow : words.widen);
  }

  #rename() {
    const { rename, renameLabel, save } = words.search;
    return ask(rename, renameLabel, this.search.told.title, save, (title) => this.search.rename(title));
  }

  async #fork() {
    await this.search.after(async () => this.onsearch(await api.fork(this.search.id)));
    announce(words.search.forked);
  }

  async #finish() {
    let told = null;
    const act = async () => void (told = await api.finish(this.search.id));
    const { finishTitle, finishAbout, finishGo, finished } = words.search;
    if (!(await confirm(finishTitle, finishAbout, finishGo, act))) return;
    const files = h("ul", { class: "files" }, told.files.map((file) => h("li", {}, file)));
    const about = [words.search.finishedAt(told.run), words.sentence(told.said)].map((text) => h("p", {}, text));
    await modal({ title: finished, label: "small", content: h("div", {}, about, files) });
  }

  async #remove() {
    const { found, irrelevant, unsure } = this.search.told.progress;
    const about = words.search.removeAbout(this.#name, found + irrelevant + unsure);
    const act = () => this.search.remove();
    const sure = await dialog({
      title: words.search.removeTitle,
      content: h("p", {}, about),
      accept: words.search.remove,
      act,
      danger: true,
    });
    if (sure) this.onleave();
  }
}

/** Show what the keys do. */
export function showKeys() {
  const rows = words.help.keys.map(([keys, what]) =>
    h("div", {}, h("dt", {}, keys.split("  ").map((key) => h("kbd", {}, key))), h("dd", {}, what)),
  );
  return modal({ title: words.help.title, label: "small keys", content: h("dl", {}, rows) });
}
