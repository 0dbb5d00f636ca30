// Tabs with their panels: arrows change between them.

import { h, set } from "./dom.js";

let number = 0;

/**
 * Tabs.
 *
 * @param {string} label - of all of them, for screen readers
 * @param {{name: string, text: string, content: () => Node}[]} entries - contents are made when first shown
 * @param {object} options - `chosen`: name of the first shown; `onchange(name)`
 */
export class Tabs {
  constructor(label, entries, { chosen, onchange = () => {} } = {}) {
    const id = `tabs-${number++}`;
    this.entries = entries;
    this.onchange = onchange;
    this.panels = new Map();
    this.tabs = entries.map(({ name, text }) =>
      h(
        "button",
        { type: "button", role: "tab", id: `${id}-${name}`, "data-name": name, onclick: () => this.show(name) },
        text,
      ),
    );
    this.list = h("div", { class: "tabs", role: "tablist", "aria-label": label }, this.tabs);
    this.body = h("div", { class: "panel-body", role: "tabpanel", tabindex: "0" });
    this.list.addEventListener("keydown", (event) => this.#key(event));
    this.show(entries.some(({ name }) => name === chosen) ? chosen : entries[0].name);
  }

  show(name) {
    this.name = name;
    for (const tab of this.tabs) {
      const chosen = tab.dataset.name === name;
      set(tab, "aria-selected", String(chosen));
      set(tab, "tabindex", chosen ? 0 : -1);
      if (chosen) set(this.body, "aria-labelledby", tab.id);
    }
    if (!this.panels.has(name)) this.panels.set(name, this.entries.find((entry) => entry.name === name).content());
    this.body.replaceChildren(this.panels.get(name));
    this.onchange(name);
  }

  #key(event) {
    const now = this.tabs.findIndex((tab) => tab.dataset.name === this.name);
    const count = this.tabs.length;
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1 + count, Home: 0, End: count - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.show(this.tabs[to % count].dataset.name);
    this.tabs[to % count].focus();
  }
}
