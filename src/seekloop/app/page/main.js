// The page: which view is shown, the state of the collection, and the connection.

import { api } from "./api.js";
import { h, set, toast } from "./dom.js";
import { live } from "./live.js";
import { Search } from "./search.js";
import { start } from "./start.js";
import { words } from "./words.js";
import { Working, showKeys } from "./working.js";

const app = document.getElementById("app");
const connection = h("div", { class: "banner lost", role: "alert", hidden: true });
const about = h("span", { class: "hint" });
const indexing = h("div", { class: "indexing" });
const advice = h("div", {});
const place = h("div", { class: "place" });
let status = null;
let search = null; // that is shown
let working = null; // its view
let turn = 0;

function showCollection(told) {
  const { indexing: now } = told;
  const running = now.state === "running";
  indexing.hidden = now.state === "finished" && !told.unreadable;
  const far = words.collection.indexing(now.done, now.total);
  const bar = h("progress", { max: Math.max(1, now.total), value: now.done, "aria-label": far });
  const failed = now.state === "failed" && words.collection.failed;
  const unreadable = told.unreadable > 0 && words.collection.unreadable(told.unreadable);
  const text = running
    ? [far, words.collection.left(now.seconds_left), words.collection.soFar]
    : [failed, now.message, unreadable];
  indexing.replaceChildren(...[running && bar, h("span", {}, text.filter(Boolean).join(" · "))].filter(Boolean));
  about.textContent = words.collection.size(told.name, told.images);
  about.title = told.root;
  indexing.classList.toggle("failed", now.state === "failed");
}

function showAdvice({ first_steps: first, advice: text }) {
  advice.replaceChildren();
  const title = h("strong", {}, words.collection.adviceTitle);
  if (first && text) advice.append(h("div", { class: "banner" }, title, " ", text));
}

function showLost() {
  connection.hidden = live.responds;
  const waiting = search?.waiting ? ` ${words.lostWaiting(search.waiting)}` : "";
  connection.textContent = live.responds ? "" : words.lost + waiting;
}

/** Show a search that the server gave. */
function go(told) {
  const address = `#search=${encodeURIComponent(told.id)}`;
  if (location.hash !== address) history.pushState(null, "", address);
  leave();
  search = new Search(told);
  search.addEventListener("change", showLost);
  working = new Working(status, search, go, () => (location.hash = ""));
  place.replaceChildren(working.element);
  set(document.body, "data-view", "search");
  working.focus();
}

function leave() {
  turn += 1;
  search?.close();
  search = working = null;
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
}

async function route() {
  leave();
  const mine = turn;
  const id = new URLSearchParams(location.hash.slice(1)).get("search");
  if (!id) return showStart();
  try {
    const told = await api.search(id);
    if (mine === turn) go(told);
  } catch (error) {
    if (error.status !== 404) return again();
    toast(words.noSuch, "error");
    location.hash = "";
  }
  return undefined;
}

function showStart() {
  document.title = words.name;
  set(document.body, "data-view", "start");
  place.replaceChildren(start(status, go));
}

/** Try what did not work once more, when the server is back, or ready. */
function again() {
  live.addEventListener("back", () => route(), { once: true });
  live.lost();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]") || event.target.matches("input, select, textarea")) return;
  if (event.key === "Enter" && event.target.matches("button, a, summary, [role=slider]")) return;
  if (event.key === "?") showKeys();
  else if (!working?.key(event)) return;
  event.preventDefault();
});

addEventListener("beforeunload", (event) => {
  if (search?.waiting && !live.responds) event.preventDefault();
});
addEventListener("hashchange", route);
live.addEventListener("indexing", ({ detail }) => grown(detail));
live.addEventListener("lost", showLost);
live.addEventListener("back", async () => {
  if (!connection.hidden) toast(words.back);
  showLost();
  const told = await api.status().catch(() => null);
  if (told) grown(told.collection);
});

/** Show how far indexing is, and photographs that can be searched since, unless somebody is looking at others. */
function grown(told) {
  const more = told.indexed !== status.collection.indexed;
  status.collection = told;
  showCollection(told);
  const idle = document.activeElement === document.body && !scrollY && !document.querySelector("dialog[open]");
  if (more && !working && idle) showStart();
}

async function begin() {
  try {
    status = await api.status();
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    return begin();
  }
  const { collection, backbone } = status;
  const skip = h("a", { href: "#main", class: "skip", onclick: (event) => jump(event) }, words.skip);
  const head = h("div", { class: "app-head" }, h("a", { href: "#", class: "brand" }, words.name), about, indexing);
  app.append(skip, connection, head, advice, place);
  showCollection(collection);
  showAdvice(backbone);
  live.start();
  return route();
}

/** Put the focus behind the head. The address keeps naming the search. */
function jump(event) {
  event.preventDefault();
  const main = document.getElementById("main");
  set(main, "tabindex", -1);
  main?.focus();
}

begin();
