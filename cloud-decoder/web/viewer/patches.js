// The 32 x 32 patches of a frame and the error of each; one of them enlarged.

import * as api from "../lib/api.js";
import { count, decibel, h } from "../lib/dom.js";

/** PSNR in dB of the strongest and of the weakest tint. */
const WORST = 18, BEST = 36;

const psnr = (mse) => (mse > 0 ? 10 * Math.log10(65025 / mse) : Infinity);
const shown = (value) => (value === Infinity ? "exact" : `${decibel(value)} dB`);

/** A part of a picture, enlarged. */
function crop(source, name, { side, x, y, frame }) {
  const canvas = h("canvas", { width: side, height: side, role: "img", "aria-label": name });
  const image = new Image();
  image.src = source;
  image.decode().then(() => canvas.getContext("2d").drawImage(image, x * side, y * side, side, side, 0, 0, side, side)).catch(() => {});
  return h("figure", { "data-frame": frame.id }, canvas, h("figcaption", {}, name));
}

function grid(frame, { side, columns, rows, mse }, select) {
  const canvas = h("canvas", { class: "map", "aria-hidden": "true", width: columns, height: rows });
  const context = canvas.getContext("2d");
  const tint = getComputedStyle(document.documentElement).getPropertyValue("--heat").trim();
  context.fillStyle = tint;
  mse.forEach((error, at) => {
    context.globalAlpha = 0.85 * Math.min(1, Math.max(0, (BEST - psnr(error)) / (BEST - WORST)));
    context.fillRect(at % columns, Math.floor(at / columns), 1, 1);
  });
  const mark = h("span", { class: "mark", "aria-hidden": "true" });
  const [across, down] = [(side / frame.width) * 100, (side / frame.height) * 100];
  // The last patches may reach beyond the frame.
  canvas.style.width = `${across * columns}%`;
  canvas.style.height = `${down * rows}%`;
  const box = h("div", { class: "layers grid", tabindex: 0, role: "slider", "aria-label": "Patch", "aria-valuemin": 1, "aria-valuemax": mse.length },
    h("img", { src: frame.images.reconstruction, alt: "" }), canvas, mark);
  box.style.setProperty("--ratio", frame.width / frame.height);
  box.style.setProperty("--across", `${across}%`);
  box.style.setProperty("--down", `${down}%`);
  let at = mse.indexOf(Math.max(...mse));
  const place = (next) => {
    at = next;
    const [x, y] = [at % columns, Math.floor(at / columns)];
    mark.style.left = `${x * across}%`;
    mark.style.top = `${y * down}%`;
    mark.style.width = `${across}%`;
    mark.style.height = `${down}%`;
    const said = `row ${y + 1}, column ${x + 1}: ${shown(psnr(mse[at]))}`;
    box.setAttribute("aria-valuenow", at + 1);
    box.setAttribute("aria-valuetext", said);
    select({ x, y, side, said, frame });
  };
  box.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const next = at + (moves[event.key] ?? NaN);
    if (!(next >= 0 && next < mse.length)) return;
    event.preventDefault();
    place(next);
  });
  box.addEventListener("pointerdown", (event) => {
    const { left, top, width, height } = box.getBoundingClientRect();
    const x = Math.floor(((event.clientX - left) / width) * 100 / across);
    const y = Math.floor(((event.clientY - top) / height) * 100 / down);
    place(Math.min(rows - 1, Math.max(0, y)) * columns + Math.min(columns - 1, Math.max(0, x)));
  });
  place(at);
  return box;
}

/** A pane that fills itself. */
export function pane(frame) {
  const element = h("div", { class: "beside", "aria-busy": "true" }, h("p", { class: "nothing" }, "Measuring the patches…"));
  api.patches(frame.id).then((found) => {
    const detail = h("div", { class: "crops" });
    const said = h("p", { class: "note", role: "status" });
    const box = grid(frame, found, (patch) => {
      said.textContent = `Patch in ${patch.said}`;
      detail.replaceChildren(
        crop(frame.images.original, "Original", patch), crop(frame.images.reconstruction, "Reconstruction", patch));
    });
    const values = found.mse.map(psnr).sort((a, b) => a - b);
    element.replaceChildren(box,
      h("div", { class: "under" },
        detail,
        h("div", {}, said,
          h("p", { class: "note" }, `${count(found.columns)} × ${count(found.rows)} patches. Worst ${shown(values[0])}, median ${shown(values[values.length >> 1])}, best ${shown(values.at(-1))}.`),
          h("span", { class: "scale" }, `${BEST} dB`, h("i", { class: "tint", "aria-hidden": "true" }), `${WORST} dB or less`))));
  }).catch((error) => element.replaceChildren(h("p", { class: "nothing" }, error.message)))
    .finally(() => element.removeAttribute("aria-busy"));
  return element;
}
