// Camera cards. A card's colour is its line's colour in the charts; pressing it filters the page.

import { $, ago, count, decibel, h, rate } from "./dom.js";
import { colourOf } from "./charts.js";

let choose = () => {};
const pictures = new Map();

export function init(select) {
  choose = select;
}

/** Remembers a camera's latest picture. */
export function arrived(frame) {
  if (frame.images.thumbnail) pictures.set(frame.camera, frame.images.thumbnail);
}

function card(camera, pressed) {
  const name = camera.camera;
  pictures.has(name) || pictures.set(name, null);
  const picture = pictures.get(name);
  const psnr = camera.recent_psnr_db;
  const element = h("button", {
    type: "button", class: "camera", "aria-pressed": String(pressed), "data-camera": name,
    onclick: () => choose(name),
  },
  h("span", { class: "picture" }, picture
    ? h("img", { src: picture, alt: "", loading: "lazy" })
    : h("span", { class: "patches" })),
  h("span", { class: "who" },
    h("i", { class: "swatch" }),
    h("b", {}, name),
    h("span", { class: camera.live ? "live" : "idle" }, camera.live ? "live" : ago(camera.last_received_ms))),
  h("span", { class: "numbers" },
    h("span", {}, h("b", {}, count(camera.frames)), " frames"),
    h("span", {}, h("b", {}, decibel(psnr)), " dB"),
    h("span", {}, h("b", {}, rate(camera.mean_bpp)), " bit/px")));
  element.querySelector(".swatch").style.background = `var(${colourOf(name)})`;
  return element;
}

export function show(list, selected) {
  const focused = document.activeElement?.dataset?.camera;
  // Cards keep their order by name, so that they do not jump while frames arrive.
  const sorted = [...list].sort((a, b) => a.camera.localeCompare(b.camera, "en", { numeric: true }));
  for (const camera of sorted) {
    if (!pictures.get(camera.camera) && camera.decoded > 0) {
      pictures.set(camera.camera, `/api/v1/frames/${camera.last_frame}/thumbnail.jpg`);
    }
  }
  $("cameras").replaceChildren(...sorted.map((camera) => card(camera, camera.camera === selected)));
  for (const image of $("cameras").querySelectorAll("img")) {
    // The last frame may still be waiting for the decoder.
    image.addEventListener("error", () => image.replaceWith(h("span", { class: "patches" })), { once: true });
  }
  if (focused) $("cameras").querySelector(`[data-camera="${CSS.escape(focused)}"]`)?.focus();
}
