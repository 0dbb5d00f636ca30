// The first view: choose a photograph to search by, or go on with an earlier search.

import { api } from "./api.js";
import { drawBox } from "./box.js";
import { choosing } from "./choosing.js";
import { attempt } from "./dialogs.js";
import { h, toast } from "./dom.js";
import { live } from "./live.js";
import { thumbnail } from "./picture.js";
import { words } from "./words.js";

/**
 * The view.
 *
 * @param {object} status - of the server
 * @param {(told: object) => void} onsearch - with the search that was begun
 */
export function start(status, onsearch) {
  const chosen = (image) =>
    drawBox(image, {
      title: words.start.boxTitle,
      accept: words.start.search,
      named: true,
      act: async ({ box, title }) => onsearch(await api.start([{ name: image.name, box }], "", title)),
    });
  const further = status.words
    ? [{ name: "words", text: words.start.tabs.words, content: () => byWords(status, onsearch) }]
    : [];
  return h(
    "main",
    { class: "start", id: "main" },
    h(
      "section",
      { class: "pick", "aria-labelledby": "start-title" },
      h("h1", { id: "start-title" }, words.start.title),
      h("p", { class: "hint" }, words.start.how),
      choosing(chosen, further),
    ),
    earlier(onsearch),
  );
}

function byWords(status, onsearch) {
  const input = h("input", { type: "text", id: "words", maxlength: "200", placeholder: words.start.wordsExample });
  const problem = h("p", { class: "problem", role: "alert" });
  const go = async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return input.focus();
    const { why } = await attempt(async () => onsearch(await api.start([], text, text)));
    problem.textContent = why;
    return undefined;
  };
  return h(
    "form",
    { class: "by-words", onsubmit: go },
    h("p", { class: "field" }, h("label", { for: "words" }, words.start.words), input),
    h("button", { type: "submit", class: "primary" }, words.start.wordsGo),
    status.words_about && h("p", { class: "hint" }, status.words_about),
    problem,
  );
}

function earlier(onsearch) {
  const list = h("ul", { class: "earlier" });
  const input = h("input", { type: "file", id: "import", accept: "application/json,.json", class: "hidden-file" });
  input.addEventListener("change", async () => {
    const [chosen] = input.files;
    input.value = "";
    if (!chosen) return;
    const { why } = await attempt(async () => onsearch(await api.read(chosen)));
    if (why) toast(why, "error");
  });
  const load = async () => {
    const { searches } = await api.searches();
    const none = h("li", { class: "none" }, words.earlier.none);
    list.replaceChildren(...(searches.length ? searches.map(entry) : [none]));
  };
  const again = () => (list.isConnected ? attempt(load) : live.removeEventListener("search", again));
  live.addEventListener("search", again);
  attempt(load);
  return h(
    "aside",
    { class: "searches", "aria-labelledby": "earlier-title" },
    h("h2", { id: "earlier-title" }, words.earlier.title),
    list,
    h("p", {}, input, h("label", { for: "import", class: "button quiet" }, words.earlier.import)),
  );
}

function entry({ id, title, changed, round, found, example, words: text }) {
  const name = title || text || words.earlier.untitled;
  return h(
    "li",
    {},
    h(
      "a",
      { href: `#search=${encodeURIComponent(id)}`, "aria-label": words.earlier.open(name) },
      example ? thumbnail(example.name, example.box).element : h("span", { class: "picture blank", "aria-hidden": "true" }),
      h(
        "span",
        { class: "what" },
        h("strong", {}, name),
        h("span", { class: "hint" }, words.earlier.summary(round, found)),
        h("span", { class: "hint" }, words.when(changed)),
      ),
    ),
  );
}
