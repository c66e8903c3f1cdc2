// One frame: its pictures compared in five ways, and its facts.

import * as api from "../lib/api.js";
import { $, ago, count, dateTime, h, plural } from "../lib/dom.js";
import * as decoders from "../lib/decoders.js";
import * as errors from "./errors.js";
import { facts } from "./facts.js";
import { know } from "../lib/nodes.js";
import * as patches from "./patches.js";
import { comparison } from "../lib/slider.js";
import { sameSize } from "./samesize.js";
import { neighbour } from "../lib/wall.js";

const MODES = [
  ["slider", "Slider"], ["pair", "Side by side"], ["error", "Error map"], ["patches", "Patches"], ["jpeg", "JPEG"],
];

let current = null; // the shown frame
let mode = "slider";

function single(frame, source, name) {
  const image = h("img", { src: source, alt: name });
  image.style.aspectRatio = frame.width / frame.height;
  return h("figure", {}, image, h("figcaption", {}, name));
}

function stage(frame) {
  const { original, reconstruction } = frame.images;
  if (original && reconstruction) {
    const left = { source: original, name: "Original" }, right = { source: reconstruction, name: "Reconstruction" };
    if (mode === "pair") return h("div", { class: "pair" }, single(frame, original, left.name), single(frame, reconstruction, right.name));
    if (mode === "error") return errors.pane(frame);
    if (mode === "patches") return patches.pane(frame);
    if (mode === "jpeg") return sameSize(frame);
    return comparison(frame, left, right);
  }
  if (reconstruction) return h("div", { class: "pair one" }, single(frame, reconstruction, "Reconstruction (this frame came without its original)"));
  if (original) return h("div", { class: "pair one" }, single(frame, original, "Original"));
  const text = {
    queued: waiting(frame),
    labelled: "Only a label was sent; there is no picture.",
    failed: `Decoding failed: ${frame.failure}`,
  }[frame.state];
  return h("div", { class: "nothing" }, h("span", { class: "patches" }), h("p", {}, text),
    frame.state === "failed" ? again(frame) : null);
}

/** The place in the queue of a frame that waits for a decoder. */
function waiting({ queue }) {
  const soon = "The picture will appear here.";
  if (!queue) return `Waiting for a decoder. ${soon}`;
  const place = queue.ahead === 0 ? "it is next" : `${plural(queue.ahead, "frame")} of ${count(queue.waiting)} are ahead of it`;
  return `Waiting for a decoder: ${place}; the oldest frame arrived ${ago(queue.oldest_received_ms)}. ${soon}`;
}

/** Asks for one more attempt. The outcome comes with the frame's next record. */
function again(frame) {
  const told = h("p", { role: "status" });
  const button = h("button", {
    type: "button", class: "quiet", onclick: async () => {
      button.disabled = true;
      try {
        await api.retry(frame.id);
      } catch (error) {
        told.textContent = error.message;
        button.disabled = false;
      }
    },
  }, "Retry");
  return h("div", {}, button, told);
}

function step(direction) {
  const id = current && neighbour(current.id, direction);
  if (id) location.replace(`#/frame/${id}`);
}

function segment([value, name]) {
  return h("button", {
    type: "button", "aria-pressed": String(mode === value), "data-mode": value,
    onclick: () => {
      mode = value;
      render();
      $("viewer").querySelector(`[data-mode="${value}"]`).focus();
    },
  }, name);
}

function render() {
  const frame = current;
  const both = frame.images.original && frame.images.reconstruction;
  const arrow = (label, text, direction) => h("button", {
    type: "button", class: "quiet", "aria-label": label, title: label,
    disabled: neighbour(frame.id, direction) === null, onclick: () => step(direction),
  }, text);
  $("viewer").replaceChildren(
    h("header", {},
      h("div", { class: "named" },
        h("h2", { id: "viewer-title" }, frame.camera),
        h("p", { class: "note" }, dateTime(frame.captured_ms))),
      both ? h("div", { class: "segments", role: "group", "aria-label": "Comparison" }, ...MODES.map(segment)) : null,
      h("div", { class: "actions" },
        arrow("Newer frame", "←", -1), arrow("Older frame", "→", 1),
        h("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close", onclick: close }, "✕"))),
    h("div", { class: "body" }, h("div", { class: "stage" }, stage(frame)), facts(frame)));
}

function close() {
  $("viewer").close();
}

/** Shows the frame that the address names, if it does. */
export async function route() {
  const id = location.hash.match(/^#\/frame\/([0-9a-f-]{36})$/)?.[1];
  if (!id) {
    current = null;
    if ($("viewer").open) close();
    return;
  }
  try {
    [current] = await Promise.all([api.frame(id), know()]);
    await decoders.know(current.decoder_id);
    render();
  } catch (error) {
    current = null;
    $("viewer").replaceChildren(h("div", { class: "nothing" },
      h("p", { id: "viewer-title" }, error.message),
      h("button", { type: "button", class: "quiet", onclick: close }, "Close")));
  }
  if (!$("viewer").open) $("viewer").showModal();
}

/** The shown frame may have been decoded meanwhile. */
export async function changed(frame) {
  if (current?.id !== frame.id) return;
  current = frame;
  // Without an answer, the frame is shown with the decoders that were known before.
  await decoders.know(frame.decoder_id).catch(() => {});
  if (current === frame) render();
}

export function init() {
  $("viewer").addEventListener("close", () => {
    const view = document.querySelector(".views [aria-current]")?.getAttribute("href") ?? "#/";
    if (location.hash.startsWith("#/frame/")) history.pushState(null, "", view);
    current = null;
  });
  $("viewer").addEventListener("click", (event) => {
    if (event.target === $("viewer")) close();
  });
  $("viewer").addEventListener("keydown", (event) => {
    // The slider and the grid of patches use arrow keys themselves.
    if (event.target.type === "range" || event.target.closest?.(".grid")) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
}
