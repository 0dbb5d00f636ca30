// Answers: buttons for them, and boxes and examples that are more than an answer.

import { drawBox } from "./box.js";
import { announce, h, set, toast } from "./dom.js";
import { fileName } from "./picture.js";
import { words } from "./words.js";

export const ANSWERS = ["yes", "no", "unsure"];
export const KEYS = { y: "yes", n: "no", u: "unsure" };

/** Buttons for the three answers; the one that holds is pressed, and pressing it again withdraws it. */
export class AnswerButtons {
  constructor(onanswer, label = words.answer.group) {
    this.buttons = ANSWERS.map((answer) =>
      h(
        "button",
        {
          type: "button",
          class: `answer ${answer}`,
          "data-answer": answer,
          onclick: () => onanswer(answer === this.answer ? null : answer),
        },
        h("span", { class: "sign", "aria-hidden": "true" }, words.answer.signs[answer]),
        h("span", {}, words.answer[answer]),
      ),
    );
    this.element = h("div", { class: "answers", role: "group", "aria-label": label }, this.buttons);
  }

  show(answer) {
    this.answer = answer;
    this.buttons.forEach((one) => set(one, "aria-pressed", String(one.dataset.answer === answer)));
    this.buttons.forEach((one) => set(one, "disabled", answer === "example"));
  }
}

/** Ask where the object is on an image, and answer yes with that box. */
export function giveBox(search, item) {
  return drawBox(item, {
    search: search.id,
    box: item.answer_box ?? item.box,
    title: words.box.answerTitle,
    accept: words.box.answerAccept,
    act: ({ box }) => say(search, [item], "yes", box),
  });
}

/** Ask where the object is on an image, and add it as an example. */
export async function giveExample(search, item) {
  const added = await drawBox(item, {
    search: search.id,
    box: item.answer_box ?? item.box,
    title: words.box.exampleTitle,
    accept: words.box.exampleAccept,
    act: ({ box }) => search.example(item.name, box),
  });
  if (added) toast(words.search.exampleAdded);
  return added;
}

/** Answer images alike, and say so. A box that was given before stays with a yes, unless there is another (or null). */
export function say(search, items, answer, box) {
  if (!items.length) return;
  const kept = (item) => (box === undefined && answer === "yes" ? item.answer_box : box);
  if (answer === null) items.forEach((item) => search.withdraw(item.name));
  else search.answer(items.map((item) => ({ name: item.name, answer, box: kept(item) })));
  const [first] = items;
  announce(
    items.length === 1 ? words.answer.said(fileName(first.path), answer) : words.answer.saidMany(items.length, answer),
  );
}

/** Whether a box would help, and there is none yet. */
export const asksBox = (item) => Boolean(item.box_wanted && item.answer === "yes" && !item.answer_box);
