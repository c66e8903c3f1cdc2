// Camera cards. A card's colour is its line's colour in the charts; pressing it filters the page.

import { $, ago, count, decibel, h, rate } from "./dom.js";
import { colourOf } from "./charts.js";

let choose = () => {};

export function init(select) {
  choose = select;
}

function card(camera, pressed) {
  const name = camera.camera;
  const psnr = camera.recent_psnr_db;
  const element = h("button", {
    type: "button", class: "camera", "aria-pressed": String(pressed), "data-camera": name,
    onclick: () => choose(name),
  },
  h("span", { class: "picture" }, camera.last_decoded
    ? h("img", { src: `/api/v1/frames/${camera.last_decoded}/thumbnail.jpg`, alt: "" })
    : h("span", { class: "patches" })),
  h("span", { class: "who" }, h("i", { class: "swatch" }), h("b", {}, name)),
  h("span", { class: "numbers" },
    camera.live ? h("span", { class: "live" }, "live") : h("span", {}, ago(camera.last_received_ms)),
    h("span", {}, h("b", {}, count(camera.frames)), camera.frames === 1 ? " frame" : " frames")),
  h("span", { class: "numbers" },
    psnr === null ? null : h("span", {}, h("b", {}, decibel(psnr)), " dB"),
    camera.mean_bpp === null ? null : h("span", {}, h("b", {}, rate(camera.mean_bpp)), " bit/px")));
  element.querySelector(".swatch").style.background = `var(${colourOf(name)})`;
  return element;
}

export function show(list, selected) {
  const focused = document.activeElement?.dataset?.camera;
  // Cards keep their order by name, so that they do not jump while frames arrive.
  const sorted = [...list].sort((a, b) => a.camera.localeCompare(b.camera, "en", { numeric: true }));
  $("cameras").replaceChildren(...sorted.map((camera) => card(camera, camera.camera === selected)));
  if (focused) $("cameras").querySelector(`[data-camera="${CSS.escape(focused)}"]`)?.focus();
}
