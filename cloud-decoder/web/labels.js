// Labels as they arrive.

import * as api from "./api.js";
import { $, h, percent, time } from "./dom.js";

const KEPT = 14;
let shown = new Set();

function row(frame) {
  const best = frame.label.scores[0];
  const bar = h("span", { class: "score", "aria-hidden": "true" }, h("i"));
  bar.firstChild.style.width = `${best.score * 100}%`;
  return h("li", {}, h("a", { href: `#/frame/${frame.id}` },
    h("span", { class: "what" }, h("b", {}, best.label), h("span", {}, percent(best.score))),
    bar,
    h("span", { class: "where" }, h("span", {}, frame.camera), h("time", {}, time(frame.captured_ms)))));
}

function nothing() {
  return h("li", { class: "note" }, "Frames sent with task=classify or task=both show their label here.");
}

/** Shows the newest labels of a camera, or of all. */
export async function load(camera) {
  const { frames } = await api.frames(camera, null, 100);
  const labelled = frames.filter((frame) => frame.label).slice(0, KEPT);
  shown = new Set(labelled.map((frame) => frame.id));
  $("labels").replaceChildren(...(labelled.length > 0 ? labelled.map(row) : [nothing()]));
}

/** A frame is new or changed; labels come with new ones. */
export function add(frame) {
  const arrived = frame.state === "queued" || frame.state === "labelled";
  if (!frame.label || !arrived || shown.has(frame.id)) return;
  if (shown.size === 0) $("labels").replaceChildren();
  shown.add(frame.id);
  const element = row(frame);
  element.classList.add("fresh");
  $("labels").prepend(element);
  while ($("labels").childElementCount > KEPT) $("labels").lastElementChild.remove();
}
