// Camera cards. A card's colour is its line's colour in the charts; pressing it filters the page.

import { $, ago, byName, count, decibel, h, percent, rate, renew } from "./dom.js";
import { colourOf } from "./colours.js";

/** Cards shown at once; with more cameras the filter in the header finds the rest. */
const SHOWN = 48;

let choose = () => {};

export function init(select) {
  choose = select;
}

/** How a camera fares: its state, and the state in a word. */
function health(camera, drift) {
  if (camera.failed > 0 && camera.decoded === 0 && camera.labelled === 0) return ["bad", "failing"];
  if (drift?.state === "drifting") return ["warn", "drifting"];
  if (camera.live) return ["live", "live"];
  return ["quiet", ago(camera.last_received_ms)];
}

function fact(value, name) {
  return h("span", {}, h("b", {}, value), name);
}

function card(camera, pressed, drift) {
  const name = camera.camera;
  const [state, word] = health(camera, drift);
  const saved = camera.mean_bpp === null ? null : 1 - camera.mean_bpp / 24;
  const element = h("button", {
    type: "button", class: "camera", "aria-pressed": String(pressed), "data-camera": name,
    onclick: () => choose(name),
  },
  h("span", { class: "picture" }, camera.last_decoded
    ? h("img", { src: `/api/v1/frames/${camera.last_decoded}/thumbnail.jpg`, alt: "", decoding: "async" })
    : h("span", { class: "patches" })),
  h("span", { class: "who" }, h("i", { class: "swatch" }), h("b", {}, name), h("span", { class: "health", "data-state": state }, word)),
  h("span", { class: "numbers" },
    fact(count(camera.frames), camera.frames === 1 ? " frame" : " frames"),
    saved === null ? null : fact(percent(saved), " saved")),
  h("span", { class: "numbers" },
    camera.recent_psnr_db === null ? null : fact(decibel(camera.recent_psnr_db), " dB"),
    camera.mean_bpp === null ? null : fact(rate(camera.mean_bpp), " bit/px"),
    camera.failed > 0 ? fact(count(camera.failed), " parked") : null));
  element.querySelector(".swatch").style.background = `var(${colourOf(name)})`;
  return element;
}

export function show(list, selected, drifts) {
  const focused = document.activeElement?.dataset?.camera;
  const drift = new Map(drifts.map((each) => [each.camera, each]));
  // Those that sent last, in the order of their names, so that they do not jump while frames arrive.
  const sorted = list.slice(0, SHOWN).sort((a, b) => byName(a.camera, b.camera));
  $("cameras-note").textContent = list.length > SHOWN ? `${SHOWN} of ${count(list.length)}, those that sent last` : "";
  renew($("cameras"), sorted.map((camera) => card(camera, camera.camera === selected, drift.get(camera.camera))));
  if (focused) $("cameras").querySelector(`[data-camera="${CSS.escape(focused)}"]`)?.focus();
}
