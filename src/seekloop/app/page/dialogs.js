// Dialogs and menus. The browser's own <dialog> keeps the focus inside, returns it, and closes by Escape.

import { NoAnswer } from "./api.js";
import { button, h, speakFrom } from "./dom.js";
import { live } from "./live.js";
import { words } from "./words.js";

let number = 0;

/** Open a dialog with a heading; it resolves when it is closed. */
export function modal({ title, label, content, onopen }) {
  const id = `dialog-${number++}`;
  const element = h(
    "dialog",
    { class: `dialog ${label}`, "aria-labelledby": id },
    h(
      "header",
      {},
      h("h2", { id }, title),
      button("✕", () => element.close(), { class: "quiet close", "aria-label": words.close }),
    ),
    content,
  );
  const before = document.activeElement;
  document.body.append(element);
  element.showModal();
  onopen?.(element);
  return new Promise((resolve) => {
    element.addEventListener("close", () => {
      speakFrom();
      element.remove();
      if (before?.isConnected) before.focus();
      resolve(element.returnValue);
    });
  });
}

/**
 * Open a dialog with a form. `act` may give a promise; while it fails (or gives false), the dialog stays.
 *
 * @returns {Promise<boolean>} whether `act` succeeded
 */
export async function dialog({ title, label = "small", content, actions = [], accept, act, danger = false }) {
  const problem = h("p", { class: "problem", role: "alert" });
  const submit = h("button", { type: "submit", class: danger ? "primary danger" : "primary" }, accept);
  const form = h(
    "form",
    { method: "dialog" },
    content,
    problem,
    h("footer", {}, actions, button(words.cancel, () => form.closest("dialog").close(), { class: "quiet" }), submit),
  );
  const run = async () => {
    submit.disabled = true;
    form.setAttribute("aria-busy", "true");
    const { done, why } = await attempt(act);
    problem.textContent = why;
    form.removeAttribute("aria-busy");
    submit.disabled = false;
    if (done) form.closest("dialog").close("done");
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!submit.disabled) run();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || event.target.matches("button, select, summary, a")) return;
    event.preventDefault();
    form.requestSubmit();
  });
  return (await modal({ title, label, content: form })) === "done";
}

/** Try an operation, and say why it failed. It may also give false, having said so itself. */
export async function attempt(operation) {
  try {
    return { done: (await operation()) !== false, why: "" };
  } catch (error) {
    if (!(error instanceof NoAnswer)) return { done: false, why: error.message };
    live.lost();
    return { done: false, why: words.lost };
  }
}

/** Ask before something that matters. */
export const confirm = (title, text, accept, act, danger = false) =>
  dialog({ title, content: h("p", {}, text), accept, act, danger });

/** Ask for a line of text. */
export function ask(title, label, value, accept, act) {
  const input = h("input", { id: "asked-line", type: "text", maxlength: "200", autofocus: true });
  input.value = value;
  const content = h("p", { class: "field" }, h("label", { for: "asked-line" }, label), input);
  return dialog({ title, content, accept, act: () => act(input.value.trim()) });
}

/**
 * A button that opens a menu.
 *
 * @param {string} text - of the button
 * @param {() => {text: string, act: () => void, checked?: boolean, danger?: boolean}[]} entries - when it is opened
 */
export function menu(text, entries, attributes = {}) {
  const label = attributes["aria-label"] ?? text;
  const list = h("div", { class: "menu", role: "menu", popover: "auto", "aria-label": label });
  const opener = button(text, () => open(), { "aria-haspopup": "menu", "aria-expanded": "false", ...attributes });
  const items = () => [...list.children];
  const focus = (index) => items().at(index % items().length)?.focus();

  function open() {
    const choose = (entry) => () => {
      list.hidePopover();
      entry.act();
    };
    list.replaceChildren(
      ...entries().map((entry) =>
        h(
          "button",
          {
            type: "button",
            role: entry.checked === undefined ? "menuitem" : "menuitemradio",
            "aria-checked": entry.checked === undefined ? null : String(entry.checked),
            tabindex: "-1",
            class: entry.danger ? "danger" : null,
            onclick: choose(entry),
          },
          entry.text,
        ),
      ),
    );
    list.showPopover();
    const place = opener.getBoundingClientRect();
    list.style.top = `${Math.min(place.bottom + 4, innerHeight - list.offsetHeight - 8)}px`;
    list.style.left = `${Math.max(8, Math.min(place.left, innerWidth - list.offsetWidth - 8))}px`;
    focus(0);
  }

  list.addEventListener("toggle", (event) => opener.setAttribute("aria-expanded", String(event.newState === "open")));
  list.addEventListener("keydown", (event) => {
    const now = items().indexOf(document.activeElement);
    const go = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: -1 }[event.key];
    if (go !== undefined) {
      event.preventDefault();
      focus(go);
    } else if (event.key === "Tab") list.hidePopover();
    event.stopPropagation();
  });
  return h("div", { class: "with-menu" }, opener, list);
}
