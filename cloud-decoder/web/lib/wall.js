// The wall of frames, newest first. It grows at the top as frames arrive.

import * as api from "./api.js";
import { $, count, dateTime, decibel, h, percent, rate, ratio, similarity, time } from "./dom.js";

const PAGE = 36;
/** Frames kept while new ones arrive; more only when older ones were asked for. */
const KEPT = 72;

const tiles = new Map(); // frame id -> { frame, element }, newest first in the document
let camera = null;
let next = null;
let extended = false;
let asked = 0;

function picture(frame) {
  const source = frame.images.thumbnail ?? (frame.state === "labelled" ? frame.images.original : null);
  if (source) {
    return h("img", { src: source, alt: "", loading: "lazy", decoding: "async" });
  }
  return h("span", { class: `patches ${frame.state}` });
}

function measured(quality) {
  if (!quality) return [];
  const number = (value, name) => h("span", {}, h("b", {}, value), ` ${name}`);
  if (quality.psnr_db === null) return [number(ratio(quality.seam_ratio), "seam ratio")];
  return [number(decibel(quality.psnr_db), "dB"), number(similarity(quality.ms_ssim), "MS-SSIM")];
}

const STATES = { queued: "Waiting for a decoder", failed: "Parked", labelled: "Label only" };

function tile(frame) {
  const best = frame.label?.scores[0];
  const state = STATES[frame.state];
  return h("a", {
    class: "tile", href: `#/frame/${frame.id}`, "data-id": frame.id, "data-state": frame.state,
    "aria-label": `Frame of ${frame.camera} at ${time(frame.captured_ms)}, ${frame.state}`,
  },
  h("span", { class: "picture" },
    picture(frame),
    state ? h("span", { class: "state" }, state) : null,
    best ? h("span", { class: "chip" }, frame.label_sure ? best.label : "unsure", frame.label_sure ? h("b", {}, ` ${percent(best.score)}`) : null) : null),
  h("span", { class: "who" },
    h("b", {}, frame.camera),
    h("time", { datetime: new Date(frame.captured_ms).toISOString(), title: dateTime(frame.captured_ms) },
      time(frame.captured_ms))),
  frame.latent_bits > 0
    ? h("span", { class: "numbers" },
      h("span", {}, h("b", {}, rate(frame.bpp)), " bit/px"),
      ...measured(frame.quality))
    : h("span", { class: "numbers" }, h("span", {}, "classified, not compressed")));
}

const settled = (frame) => frame.state !== "queued";

function put(frame, place) {
  const old = tiles.get(frame.id);
  if (old && settled(old.frame)) return;
  const element = tile(frame);
  if (old) old.element.replaceWith(element);
  else place(element);
  tiles.set(frame.id, { frame, element });
}

function note() {
  const shown = `${count(tiles.size)} shown`;
  $("frames-note").textContent = camera ? `${camera}, ${shown}` : shown;
}

/** Reads the newest frames of a camera, or of all. */
export async function read(of) {
  const mine = (asked += 1);
  return { of, mine, ...await api.frames({ camera: of, limit: PAGE }) };
}

/** Whether the wall begins below the window. */
export const below = () => $("wall").getBoundingClientRect().top > innerHeight;

/** Shows what was read, unless more was asked for since. */
export function show({ of, mine, ...page }) {
  if (mine !== asked) return;
  camera = of;
  next = page.next;
  extended = false;
  tiles.clear();
  $("wall").replaceChildren();
  for (const frame of page.frames) put(frame, (element) => $("wall").append(element));
  $("older").hidden = next === null;
  note();
}

/** A frame is new or changed. */
export function add(frame) {
  const older = [...$("wall").children].find((element) =>
    tiles.get(element.dataset.id).frame.received_ms <= frame.received_ms);
  // A frame from before the oldest one shown belongs to a later page.
  if (!tiles.has(frame.id) && !older && next !== null) return;
  put(frame, (element) => {
    element.classList.add("fresh");
    if (older) older.before(element);
    else $("wall").append(element);
  });
  while (!extended && tiles.size > KEPT) {
    const last = $("wall").lastElementChild;
    tiles.delete(last.dataset.id);
    last.remove();
    next = $("wall").lastElementChild.dataset.id;
    $("older").hidden = false;
  }
  note();
}

async function older() {
  extended = true;
  const page = await api.frames({ camera, before: next, limit: PAGE });
  next = page.next;
  for (const frame of page.frames) put(frame, (element) => $("wall").append(element));
  $("older").hidden = next === null;
  note();
}

/** Id of the frame before (-1, newer) or after (1, older) one on the wall. */
export function neighbour(id, step) {
  const element = tiles.get(id)?.element;
  const other = step < 0 ? element?.previousElementSibling : element?.nextElementSibling;
  return other?.dataset.id ?? null;
}

export function init() {
  $("wall").append(...Array.from({ length: 8 }, () => h("span", { class: "tile loading" }, h("span", { class: "picture" }))));
  $("older").addEventListener("click", () => older().catch(() => {}));
}
