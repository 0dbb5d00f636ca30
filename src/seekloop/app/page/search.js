// One search: what the server says of it, and answers on their way.

import { NoAnswer, Refused, api } from "./api.js";
import { live } from "./live.js";

/**
 * The state of one search. Answers show at once and are kept in this tab until the server has them.
 *
 * Events: `change` whenever anything is different, `answered` when it was answered here, `round` when a question came, `order` when the ranking may have
 * changed, `refused` with a sentence as `detail`, `gone` when the search was deleted.
 */
export class Search extends EventTarget {
  #outbox; // answers that the server has not confirmed, by image
  #chain = Promise.resolve();
  #flushing = false;
  #leaving = false;
  #action = 0;
  #goesOn = null; // the round that the person wants to leave

  constructor(told) {
    super();
    this.told = told;
    this.#outbox = new Map(JSON.parse(sessionStorage.getItem(this.#key) ?? "[]"));
    for (const { action } of this.#outbox.values()) this.#action = Math.max(this.#action, action + 1);
    this.onSearch = ({ detail }) => detail.id === this.id && this.#refresh(detail.version);
    this.onBack = () => {
      this.#refresh();
      this.#flush();
      if (this.#goesOn !== null) this.next(this.#goesOn);
    };
    live.addEventListener("search", this.onSearch);
    live.addEventListener("back", this.onBack);
    if (this.#outbox.size) this.#flush();
  }

  /** End listening; answers on their way still arrive. */
  close() {
    live.removeEventListener("search", this.onSearch);
    live.removeEventListener("back", this.onBack);
  }

  get id() {
    return this.told.id;
  }

  get #key() {
    return `seekloop.outbox.${this.told.id}`;
  }

  /** Number of answers that the server does not have yet. */
  get waiting() {
    return this.#outbox.size;
  }

  /** Images of the question, with the answers as the person sees them. */
  get question() {
    return this.told.question.map((item) => this.seen(item));
  }

  get unanswered() {
    return this.question.filter((item) => !item.answer).length;
  }

  /** The version of what is on the screen, for addresses that depend on it. */
  get round() {
    return this.told.round;
  }

  /** An image with the answer that was given here, whether or not the server has it. */
  seen(item) {
    const mine = this.#outbox.get(item.name);
    return mine ? { ...item, answer: mine.answer, answer_box: mine.box } : item;
  }

  /** Answer images: [{name, answer: "yes" | "no" | "unsure" | null, box}]. */
  answer(answers) {
    const action = this.#action++;
    for (const one of answers) {
      this.#outbox.delete(one.name); // the last to be answered is the last to be sent
      this.#outbox.set(one.name, { name: one.name, answer: one.answer, box: one.box ?? null, action });
    }
    this.#keep();
    this.dispatchEvent(new Event("answered"));
    this.#changed();
    this.#flush();
  }

  /** Take an answer back, whichever round it is from. */
  withdraw(name) {
    if (this.told.question.some((item) => item.name === name)) this.answer([{ name, answer: null }]);
    else this.revoke([name]);
  }

  /** Go on to the question after this round's. Without a response it is tried again as soon as the server is back. */
  next(round = this.told.round) {
    this.#goesOn = round;
    return this.#run(async () => {
      await this.#send();
      for (let tries = 0; tries < 2 && this.told.round === round; tries++) {
        this.#adopt(await this.#orCurrent(() => api.next(this.id, this.told.version)));
      }
      this.#goesOn = null;
    });
  }

  /** Take back the last thing that happened. */
  undo() {
    return this.#change(() => api.undo(this.id));
  }

  revoke(names) {
    return this.#change(() => api.revoke(this.id, names));
  }

  example(name, box) {
    return this.#change(() => api.example(this.id, name, box));
  }

  criterion(name) {
    return this.#change(() => api.criterion(this.id, name));
  }

  rename(title) {
    return this.#change(() => api.rename(this.id, title));
  }

  /** Answer all images of the ranking down to a place that have no answer. */
  accept(first, answer = "yes") {
    return this.#change(() => api.accept(this.id, first, answer));
  }

  /** Delete the search. That it is gone is no news here then. */
  async remove() {
    this.#leaving = true;
    try {
      await api.remove(this.id);
    } catch (error) {
      this.#leaving = false;
      throw error;
    }
  }

  /** Do something after all answers have arrived; true if it succeeded. */
  after(operation) {
    return this.#run(async () => {
      await this.#send();
      await operation();
    });
  }

  #change(operation) {
    return this.after(async () => {
      this.#adopt(await operation(), true);
    });
  }

  /** Run one operation after the other; what fails is told by events. */
  #run(operation) {
    const result = this.#chain.then(operation).then(
      () => true,
      (error) => this.#failed(error),
    );
    this.#chain = result;
    return result;
  }

  #failed(error) {
    if (error instanceof NoAnswer) live.lost();
    else if (error instanceof Refused && error.status === 404) this.dispatchEvent(new Event("gone"));
    else {
      this.#goesOn = null;
      this.dispatchEvent(new CustomEvent("refused", { detail: error.message }));
    }
    return false;
  }

  /** The search that an operation gives, or as another tab has left it. */
  async #orCurrent(operation) {
    try {
      return await operation();
    } catch (error) {
      if (error instanceof Refused && error.body?.search) return error.body.search;
      throw error;
    }
  }

  #flush() {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#run(() => this.#send());
  }

  /** Send answers until the server has all; what was answered at once goes at once, so that it is undone at once. */
  async #send() {
    this.#flushing = false;
    while (this.#outbox.size) {
      const [first] = this.#outbox.values();
      const batch = [...this.#outbox.values()].filter((one) => one.action === first.action);
      const told = await this.#deliver(batch);
      for (const sent of batch) if (this.#outbox.get(sent.name) === sent) this.#outbox.delete(sent.name);
      this.#keep();
      this.#adopt(told);
    }
  }

  /** Bring answers to the server. Where it refuses several, each goes alone, and only what is refused then is lost. */
  async #deliver(batch) {
    try {
      const answers = batch.map(({ name, answer, box }) => ({ name, answer, box }));
      return await api.answers(this.id, this.told.version, answers);
    } catch (error) {
      if (error instanceof NoAnswer || error.status === 404) throw error;
      if (batch.length === 1) {
        this.#failed(error);
        return api.search(this.id);
      }
    }
    let told = this.told;
    for (const one of batch) told = this.told = await this.#deliver([one]);
    return told;
  }

  #refresh(version) {
    this.#run(async () => {
      if (this.#leaving) return;
      if (version === undefined || version !== this.told.version) this.#adopt(await api.search(this.id));
    });
  }

  #adopt(told, reorders = false) {
    const before = this.told;
    this.told = told;
    const names = (one) => one.question.map((item) => item.name).join();
    const asks = before.round !== told.round || names(before) !== names(told);
    this.#changed();
    if (asks) this.dispatchEvent(new Event("round"));
    if (asks || reorders || before.examples.length !== told.examples.length) this.dispatchEvent(new Event("order"));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  #keep() {
    if (this.#outbox.size) sessionStorage.setItem(this.#key, JSON.stringify([...this.#outbox]));
    else sessionStorage.removeItem(this.#key);
  }
}
