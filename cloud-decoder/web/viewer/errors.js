// The error map: how much each pixel of the reconstruction differs from the original, as colours over the picture.

import { h } from "../lib/dom.js";

/** Most pixels that are compared; larger frames are compared at a lower resolution. */
const MAX_PIXELS = 4_000_000;
/** Error, of 255, from which a pixel has the hottest colour. */
const HOTTEST = 64;
/** From none to HOTTEST: the "inferno" colours of matplotlib. */
const STOPS = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

const colours = Array.from({ length: 256 }, (_, at) => {
  const place = (at / 255) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(place));
  return STOPS[low].map((from, channel) => from + (STOPS[low + 1][channel] - from) * (place - low));
});

async function pixels(source, width, height) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** The larger of the three channels' errors, for each pixel. */
function map(a, b) {
  const out = new ImageData(a.width, a.height);
  let sum = 0;
  for (let at = 0; at < a.data.length; at += 4) {
    const error = Math.max(Math.abs(a.data[at] - b.data[at]), Math.abs(a.data[at + 1] - b.data[at + 1]), Math.abs(a.data[at + 2] - b.data[at + 2]));
    sum += error;
    out.data.set(colours[Math.min(255, Math.round((error / HOTTEST) * 255))], at);
    out.data[at + 3] = 255;
  }
  return [out, sum / (a.data.length / 4)];
}

async function draw(frame, canvas, note) {
  const scale = Math.min(1, Math.sqrt(MAX_PIXELS / (frame.width * frame.height)));
  const [width, height] = [frame.width, frame.height].map((side) => Math.max(1, Math.round(side * scale)));
  const [a, b] = await Promise.all([frame.images.original, frame.images.reconstruction].map((source) => pixels(source, width, height)));
  const [heat, mean] = map(a, b);
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(heat, 0, 0);
  canvas.setAttribute("aria-label", `Error of each pixel, on average ${mean.toFixed(1)} of 255`);
  note.textContent = `Mean error ${mean.toFixed(1)} of 255, in each pixel's worst channel.`;
}

/** A pane that fills itself. */
export function pane(frame) {
  const canvas = h("canvas", { class: "map", role: "img", "aria-label": "Error of each pixel" });
  const note = h("p", { class: "note", role: "status" }, "Comparing…");
  const over = h("img", { src: frame.images.original, alt: "" });
  const fade = h("input", { type: "range", min: 0, max: 100, value: 100, id: "heat" });
  fade.addEventListener("input", () => { canvas.style.opacity = fade.value / 100; });
  const box = h("div", { class: "layers" }, over, canvas);
  box.style.setProperty("--ratio", frame.width / frame.height);
  draw(frame, canvas, note).catch((error) => { note.textContent = `The pictures could not be compared: ${error.message}`; });
  return h("div", { class: "beside" }, box,
    h("div", { class: "under" },
      h("span", { class: "scale" }, "0", h("i", { class: "inferno", "aria-hidden": "true" }), `${HOTTEST} or more`),
      h("label", { for: "heat" }, "Opacity of the map ", fade)),
    note);
}
