// Calls to the server.

import { words } from "./words.js";

/** The server understood and refused. `detail` is a sentence for people. */
export class Refused extends Error {
  constructor(status, body) {
    super(typeof body?.detail === "string" ? words.sentence(body.detail) : words.refused(status));
    this.status = status;
    this.body = body;
  }
}

/** The server did not answer, or could not. */
export class NoAnswer extends Error {}

const PATIENCE = 30_000; // milliseconds
const at = (id, rest = "") => `/api/searches/${encodeURIComponent(id)}${rest}`;
const image = (name, rest) => `/api/images/${encodeURIComponent(name)}${rest}`;

function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString();
  return text ? `?${text}` : "";
}

async function respond(method, path, { json, body, headers = {}, patience = PATIENCE } = {}) {
  const sent = { method, headers: { ...headers }, credentials: "same-origin" };
  if (method !== "GET") sent.headers["X-Seekloop"] = "1";
  if (json !== undefined) {
    sent.headers["Content-Type"] = "application/json";
    sent.body = JSON.stringify(json);
  } else if (body !== undefined) sent.body = body;
  if (patience) sent.signal = AbortSignal.timeout(patience);
  let response;
  try {
    response = await fetch(path, sent);
  } catch (error) {
    throw new NoAnswer(String(error));
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => null);
  if (response.status >= 500) throw new NoAnswer(told?.detail ?? `HTTP ${response.status}`);
  throw new Refused(response.status, told);
}

async function call(method, path, options) {
  const response = await respond(method, path, options);
  try {
    return response.status === 204 ? null : await response.json();
  } catch (error) {
    throw new NoAnswer(String(error)); // the connection broke in the middle
  }
}

const get = (path) => call("GET", path);
const post = (path, json = {}, options = {}) => call("POST", path, { json, ...options });

export const api = {
  status: () => get("/api/status"),
  browse: (values) => get(`/api/browse${query(values)}`),
  overview: () => get("/api/overview"),
  group: (name, values) => get(`/api/overview/${encodeURIComponent(name)}${query(values)}`),
  searches: () => get("/api/searches"),
  search: (id) => get(at(id)),
  start: (examples, words, title) => post("/api/searches", { examples, words, title }),
  rename: (id, title) => call("PATCH", at(id), { json: { title } }),
  remove: (id) => call("DELETE", at(id)),
  answers: (id, version, answers) => post(at(id, "/answers"), { version, answers }),
  next: (id, version) => post(at(id, "/next"), { version }),
  revoke: (id, names) => post(at(id, "/revoke"), { names }),
  undo: (id) => post(at(id, "/undo")),
  example: (id, name, box) => post(at(id, "/examples"), { name, box }),
  criterion: (id, name) => post(at(id, "/criterion"), { name }),
  fork: (id) => post(at(id, "/fork")),
  ranking: (id, values) => get(at(id, `/ranking${query(values)}`)),
  accept: (id, first, answer) => post(at(id, "/accept"), { above: null, first, answer }),
  said: (id) => get(at(id, "/answers")),
  download: (id, values) => respond("GET", at(id, `/export${query(values)}`), { patience: 0 }),
  write: (id, values) => post(at(id, "/export"), values, { patience: 0 }),
  read: (file) => call("POST", "/api/import", { body: file, headers: { "Content-Type": "application/json" } }),
  finish: (id) => post(at(id, "/finish"), {}, { patience: 0 }),
  upload: (file) =>
    call("POST", "/api/uploads", {
      body: file,
      headers: { "Content-Type": file.type || "image/jpeg", "X-Filename": encodeURIComponent(file.name ?? "") },
      patience: 0,
    }),
};

/** Addresses of pictures. */
export const pictures = {
  thumbnail: (name) => image(name, "/thumbnail"),
  large: (name, search) => image(name, `/picture${query({ search })}`),
  heat: (name, search, version) => at(search, `/images/${encodeURIComponent(name)}/heatmap${query({ version })}`),
};
