// Ways to choose a photograph: by folder, by date, from an overview, from a file.

import { api } from "./api.js";
import { attempt } from "./dialogs.js";
import { button, h, toast, whenNear } from "./dom.js";
import { Grid } from "./grid.js";
import { fileName, thumbnail } from "./picture.js";
import { Tabs } from "./tabs.js";
import { words } from "./words.js";

const PAGE = 60;

/** Photographs to choose from, loaded while one scrolls. */
class Choice {
  #turn = 0;
  #sentinel = null;

  constructor(onchoose) {
    this.onchoose = onchoose;
    const key = (event, index) => event.key === "Enter" && event.target.tagName !== "BUTTON" && this.#choose(index);
    this.grid = new Grid({ label: words.collection.empty, className: "grid choice-grid", key });
    this.state = h("p", { class: "none", role: "status" });
    this.end = h("div", { class: "end" });
    this.element = h("div", {}, this.grid.element, this.state, this.end);
  }

  #choose(index) {
    this.onchoose(this.grid.cards[index].item);
    return true;
  }

  /**
   * Show other photographs.
   *
   * @param {string} label - of the list, for screen readers
   * @param {(after: number, count: number) => Promise<{images: object[], total: number}>} load - a part of them
   * @param {(item: object) => string} caption - below each
   */
  async show(label, load, caption = (item) => fileName(item.path)) {
    const turn = ++this.#turn;
    this.#sentinel?.disconnect();
    this.grid.replace([]);
    this.grid.element.setAttribute("aria-label", label);
    this.state.textContent = words.start.more;
    let told = null;
    const more = async () => {
      const { done, why } = await attempt(async () => void (told = await load(this.grid.cards.length, PAGE)));
      if (turn !== this.#turn) return false;
      if (!done) this.state.textContent = why;
      if (!done) return false;
      this.grid.add(told.images.map((item) => this.#card(item, caption(item))));
      this.state.textContent = this.grid.cards.length ? "" : words.start.none;
      return told.images.length > 0 && this.grid.cards.length < told.total;
    };
    if (await more()) this.#sentinel = whenNear(this.end, more);
    return told;
  }

  #card(item, caption) {
    const element = button("", () => this.onchoose(item), {
      class: "tile",
      "data-name": item.name,
      "aria-label": words.start.choose(caption),
      title: item.path,
    });
    element.append(thumbnail(item.name).element, h("span", { class: "file", "aria-hidden": "true" }, caption));
    return { element, item };
  }
}

function folders(onchoose) {
  const choice = new Choice(onchoose);
  const path = h("nav", { class: "crumbs", "aria-label": words.start.up });
  const inside = h("div", { class: "folders" });
  const link = (folder, text, count) =>
    button(count === undefined ? text : words.start.folder(text, count), () => show(folder, true), {
      class: "quiet folder",
      "data-folder": folder,
    });
  const show = async (folder, focus) => {
    let by = "name";
    const load = async (after, count) => {
      const here = await api.browse({ folder, after, count, by });
      if (after || here.total || by === "date") return here;
      by = "date"; // no photograph lies directly in it: those of all folders below
      return { ...(await api.browse({ folder, count, by })), folders: here.folders };
    };
    const told = await choice.show(folder || words.start.all, load);
    if (!told) return;
    const parts = folder ? folder.split("/") : [];
    const steps = parts.map((part, index) => ({ part, to: parts.slice(0, index + 1).join("/") }));
    path.replaceChildren(link("", words.start.all), ...steps.flatMap(({ part, to }) => [" / ", link(to, part)]));
    path.hidden = !folder;
    inside.replaceChildren(...told.folders.map((one) => link(one.path, one.name, one.images)));
    inside.hidden = !told.folders.length;
    if (focus) [...path.querySelectorAll("button")].at(-1).focus();
  };
  show("");
  return h("div", {}, path, inside, choice.element);
}

function dates(onchoose) {
  const choice = new Choice(onchoose);
  const month = h("select", { id: "month", onchange: () => show() });
  const show = async () => {
    const load = (after, count) => api.browse({ month: month.value, after, count, by: "date" });
    const told = await choice.show(words.month(month.value), load);
    if (!told || month.options.length) return;
    const option = (value, text) => h("option", { value }, text);
    const known = told.months.filter((one) => one.month);
    month.append(
      option("", words.start.anyMonth(told.total)),
      ...known.map((one) => option(one.month, words.start.monthOption(words.month(one.month), one.images))),
    );
  };
  show();
  const field = h("p", { class: "field" }, h("label", { for: "month" }, words.start.month), month);
  return h("div", {}, field, choice.element);
}

function overview(onchoose) {
  const element = h("div", {});
  const top = new Choice((group) => inside(group));
  const whole = h("div", {}, h("p", { class: "hint" }, words.start.groups), top.element);
  const all = async () => {
    const { groups } = await api.overview();
    return { images: groups, total: groups.length };
  };
  const inside = (group) => {
    const choice = new Choice(onchoose);
    const back = () => {
      element.replaceChildren(whole);
      top.grid.focus();
    };
    const toAll = button(words.start.groupsBack, back, { class: "quiet" });
    element.replaceChildren(h("p", {}, toAll), choice.element);
    toAll.focus();
    choice.show(words.start.group(group.images), (after, count) => api.group(group.name, { after, count }));
  };
  element.append(whole);
  top.show(words.start.tabs.groups, all, (group) => words.start.group(group.images));
  return element;
}

/** Bring a photograph of the person's to the server; it can then be chosen like others. */
export async function upload(photograph, onchoose) {
  toast(words.start.uploading);
  let image = null;
  const { done, why } = await attempt(async () => void (image = await api.upload(photograph)));
  if (done) onchoose(image);
  else toast(why, "error");
}

function file(onchoose) {
  const input = h("input", { type: "file", id: "photograph", accept: "image/*", class: "hidden-file" });
  input.addEventListener("change", () => {
    if (input.files.length) upload(input.files[0], onchoose);
    input.value = "";
  });
  return h(
    "div",
    { class: "drop" },
    h("p", { class: "big" }, words.start.drop),
    h("p", {}, input, h("label", { for: "photograph", class: "button" }, words.start.file)),
    h("p", { class: "hint" }, words.start.fileHow),
  );
}

/**
 * Tabs to choose a photograph with.
 *
 * @param {(image: {name: string, path: string}) => void} onchoose - with the one that is chosen
 * @param {{name: string, text: string, content: () => Node}[]} further - tabs
 */
export function choosing(onchoose, further = []) {
  const { folders: byFolder, dates: byDate, groups, file: own } = words.start.tabs;
  const tabs = new Tabs(words.start.tabsLabel, [
    { name: "folders", text: byFolder, content: () => folders(onchoose) },
    { name: "dates", text: byDate, content: () => dates(onchoose) },
    { name: "groups", text: groups, content: () => overview(onchoose) },
    ...further,
    { name: "file", text: own, content: () => file(onchoose) },
  ]);
  const element = h("div", { class: "choosing" }, tabs.list, tabs.body);
  const hold = (event) => event.dataTransfer.types.includes("Files") && event.preventDefault();
  element.addEventListener("dragover", hold);
  element.addEventListener("drop", (event) => {
    hold(event);
    const [dropped] = event.dataTransfer.files;
    if (dropped) upload(dropped, onchoose);
  });
  return element;
}
