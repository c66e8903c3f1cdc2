// Parked frames: those that could not be decoded, each with the reason and a button to retry it.

import * as api from "../lib/api.js";
import { $, count, dateTime, h, plural } from "../lib/dom.js";

const PAGE = 50;

const rows = new Map(); // frame id -> element
let next = null;
let camera = null;

async function again(frame, button) {
  button.disabled = true;
  button.textContent = "Queued";
  try {
    await api.retry(frame.id);
  } catch (error) {
    button.disabled = false;
    button.textContent = "Retry";
    $("parked-note").textContent = error.message;
  }
}

function row(frame) {
  const button = h("button", {
    type: "button", class: "quiet", "aria-label": `Retry the frame of ${frame.camera} at ${dateTime(frame.captured_ms)}`,
  }, "Retry");
  button.addEventListener("click", () => again(frame, button));
  return h("li", { class: "card", "data-id": frame.id },
    h("div", {},
      h("p", { class: "who" }, h("a", { href: `#/frame/${frame.id}` }, h("b", {}, frame.camera)),
        h("time", { datetime: new Date(frame.captured_ms).toISOString() }, dateTime(frame.captured_ms))),
      h("p", { class: "why" }, frame.failure),
      h("p", { class: "numbers" }, h("span", {}, frame.node), h("span", {}, `${count(frame.width)} × ${count(frame.height)} px`))),
    button);
}

function note() {
  $("parked-note").textContent = rows.size === 0
    ? (camera ? `No frame of ${camera} is parked.` : "No frame is parked.")
    : `${plural(rows.size, "frame")} shown.`;
  $("retry-all").hidden = rows.size < 2;
  $("parked-older").hidden = next === null;
}

async function page(before) {
  const answer = await api.frames({ camera, state: "failed", before, limit: PAGE });
  next = answer.next;
  for (const frame of answer.frames) {
    if (rows.has(frame.id)) continue;
    rows.set(frame.id, row(frame));
    $("parked-list").append(rows.get(frame.id));
  }
  note();
}

export async function load(chosen) {
  camera = chosen;
  rows.clear();
  $("parked-list").replaceChildren();
  await page(null);
}

export async function refresh() {}

/** A frame that is decoded leaves the list, one that fails is added. */
export function changed(frame) {
  if (frame.state === "queued") return;
  rows.get(frame.id)?.remove();
  rows.delete(frame.id);
  if (frame.state === "failed") {
    rows.set(frame.id, row(frame));
    $("parked-list").prepend(rows.get(frame.id));
  }
  note();
}

export function init() {
  $("parked-older").addEventListener("click", () => page(next).catch(() => {}));
  $("retry-all").addEventListener("click", () => {
    for (const element of rows.values()) element.querySelector("button:not(:disabled)")?.click();
  });
}
