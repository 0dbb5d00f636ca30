// Elements. Text is always a text node, so that no file name can become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  const absent = [null, undefined, false];
  element.append(...children.flat(Infinity).filter((child) => !absent.includes(child)));
  return element;
}

/** An HTML element: h("button", {class: "quiet", onclick: listener}, "Text", child). */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Set an attribute, or remove it for null, undefined and false. */
export function set(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** A button with a text. */
export function button(text, onclick, attributes = {}) {
  return h("button", { type: "button", ...attributes, onclick }, text);
}

const polite = h("div", { class: "hidden", role: "status", "aria-live": "polite" });
const toasts = h("div", { class: "toasts" });
const voice = h("div", { class: "voice" }, polite, toasts);

/** Bring what is said into the dialog in front, if one is open: what lies behind it is neither seen nor heard. */
export function speakFrom(place = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body) {
  if (voice.parentElement !== place) place.append(voice);
}

/** Say something to a screen reader alone. */
export function announce(text) {
  speakFrom();
  polite.textContent = "";
  requestAnimationFrame(() => (polite.textContent = text));
}

/** Show a short message for some seconds, to screen readers too. */
export function toast(text, kind = "status") {
  const message = h("div", { class: `toast ${kind}`, role: kind === "error" ? "alert" : "status" }, text);
  message.addEventListener("click", () => message.remove());
  speakFrom();
  toasts.append(message);
  setTimeout(() => message.remove(), kind === "error" ? 9000 : 5000);
}

/** Keep a list filled while it is scrolled: `more()` is called whenever `sentinel` comes near. */
export function whenNear(sentinel, more) {
  let busy = false;
  const observer = new IntersectionObserver(
    async (entries) => {
      if (busy || !entries.some((entry) => entry.isIntersecting)) return;
      busy = true;
      const goOn = await more();
      busy = false;
      observer.unobserve(sentinel);
      if (goOn) observer.observe(sentinel); // observing anew tells again if it is still near
    },
    { rootMargin: "600px" },
  );
  observer.observe(sentinel);
  return observer;
}

/** A setting kept in this browser. */
export const settings = {
  get(name, otherwise) {
    const kept = localStorage.getItem(`seekloop.${name}`);
    return kept === null ? otherwise : JSON.parse(kept);
  },
  set(name, value) {
    localStorage.setItem(`seekloop.${name}`, JSON.stringify(value));
  },
};
