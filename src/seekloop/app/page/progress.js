// How the search goes: what was found, how sure the last round was, and what may remain.

import { h, svg } from "./dom.js";
import { words } from "./words.js";

const WIDTH = 320;
const HEIGHT = 150;
const EDGE = { left: 34, right: 10, top: 10, bottom: 24 };

export class Progress {
  constructor(search) {
    this.search = search;
    this.element = h("div", { class: "progress" });
    search.addEventListener("change", () => this.#show());
    this.#show();
  }

  #show() {
    const { progress, left } = this.search.told;
    const { rounds, remaining, hint } = progress;
    const last = rounds.at(-1);
    const facts = [
      [words.progress.found, words.number(progress.found)],
      last && [words.progress.precision(last.round), words.progress.hits(last.yes, last.asked)],
      remaining && [words.progress.remaining, this.#remaining(remaining)],
      [words.progress.irrelevant, words.number(progress.irrelevant)],
      [words.progress.unsure, words.number(progress.unsure)],
      [words.progress.left, words.number(left)],
      [words.progress.time, words.progress.seconds(progress.seconds)],
    ];
    this.element.replaceChildren(
      ...[
        hint && h("p", { class: "advice" }, hint),
        h("dl", {}, facts.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
        rounds.length > 0 && this.#figure(rounds),
      ].filter(Boolean),
    );
  }

  #remaining({ low, estimate, high, method }) {
    const { remainingValue, remainingRange } = words.progress;
    const range = h("span", { class: "hint" }, `${remainingRange(low, high)}. ${method}`);
    return h("span", {}, remainingValue(estimate), h("br"), range);
  }

  #figure(rounds) {
    const { percent } = words.progress;
    const cells = ({ round, asked, yes, precision, found }) => [round, asked, yes, percent(precision), found];
    const row = (tag, values) => h("tr", {}, values.map((value) => h(tag, {}, String(value))));
    const head = h("thead", {}, h("tr", {}, words.progress.columns.map((name) => h("th", { scope: "col" }, name))));
    const body = h("tbody", {}, rounds.map((round) => row("td", cells(round))));
    return h(
      "figure",
      {},
      h("figcaption", {}, words.progress.curve),
      curve(rounds),
      h("details", {}, h("summary", {}, words.progress.table), h("table", {}, head, body)),
    );
  }
}

/** A step of 1, 2 or 5 times a power of ten that divides a range into at most four. */
export function step(range) {
  const power = 10 ** Math.floor(Math.log10(Math.max(range, 1)));
  return [0.1, 0.2, 0.5, 1, 2, 5].map((times) => times * power).find((size) => size >= 1 && range / size <= 4) ?? power;
}

/** The number found after each round, as a line. */
function curve(rounds) {
  const most = Math.max(1, ...rounds.map(({ found }) => found));
  const last = Math.max(1, rounds.at(-1).round);
  const x = (round) => EDGE.left + (round / last) * (WIDTH - EDGE.left - EDGE.right);
  const y = (found) => HEIGHT - EDGE.bottom - (found / most) * (HEIGHT - EDGE.top - EDGE.bottom);
  const chart = svg("svg", { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  chart.setAttribute("aria-label", words.progress.curveText(rounds));
  for (let found = 0; found <= most; found += step(most)) {
    chart.append(svg("line", { class: "rule", x1: EDGE.left, x2: WIDTH - EDGE.right, y1: y(found), y2: y(found) }));
    chart.append(svg("text", { x: EDGE.left - 6, y: y(found) + 4, "text-anchor": "end" }, String(found)));
  }
  for (let round = step(last); round <= last; round += step(last)) {
    chart.append(svg("text", { x: x(round), y: HEIGHT - 6, "text-anchor": "middle" }, String(round)));
  }
  const points = rounds.map(({ round, found }) => `${x(round)},${y(found)}`);
  chart.append(svg("polyline", { points: points.join(" ") }));
  for (const { round, found } of rounds) chart.append(svg("circle", { cx: x(round), cy: y(found), r: 2.5 }));
  return chart;
}
