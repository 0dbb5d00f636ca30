// The connection: events of the server, and whether it responds at all.

import { api } from "./api.js";

const AGAIN = 1500; // milliseconds

/**
 * Tells what happens on the server.
 *
 * Events: `indexing` and `search` with the server's words as `detail`; `lost` and `back` for the connection.
 */
class Live extends EventTarget {
  responds = true;
  #source = null;

  /** Listen while the page is seen: a browser has few connections, and hidden tabs would use them up. */
  start() {
    const toggle = () => (document.hidden ? this.#stop() : this.#listen());
    document.addEventListener("visibilitychange", () => {
      toggle();
      if (!document.hidden) this.dispatchEvent(new Event("back"));
    });
    toggle();
  }

  /** Note that a call got no response: from now on the server is asked until it responds, and can search. */
  async lost() {
    if (!this.responds) return;
    this.responds = false;
    this.#stop();
    this.dispatchEvent(new Event("lost"));
    while (!this.responds) {
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
      this.responds = await api.status().then(({ collection }) => collection.indexed > 0, () => false);
    }
    if (!document.hidden) this.#listen();
    this.dispatchEvent(new Event("back"));
  }

  #listen() {
    if (this.#source || !this.responds) return;
    this.#source = new EventSource("/api/events");
    this.#source.onmessage = (message) => {
      const detail = JSON.parse(message.data);
      this.dispatchEvent(new CustomEvent(detail.kind, { detail }));
    };
    this.#source.onerror = () => this.lost();
  }

  #stop() {
    this.#source?.close();
    this.#source = null;
  }
}

export const live = new Live();
