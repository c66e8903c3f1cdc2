// The reconstruction against a JPEG of the original that has no more bytes than the latents.

import * as api from "../lib/api.js";
import { bytes, decibel, h, similarity } from "../lib/dom.js";
import { comparison } from "../lib/slider.js";

function figures(name, { psnr_db, ssim, ms_ssim }, size, note) {
  return h("tr", {}, h("th", { scope: "row" }, name, note ? h("small", {}, ` ${note}`) : null),
    h("td", {}, bytes(size)), h("td", {}, `${decibel(psnr_db)} dB`), h("td", {}, similarity(ssim)), h("td", {}, similarity(ms_ssim)));
}

/** A pane that fills itself. */
export function sameSize(frame) {
  const pane = h("div", { class: "beside", "aria-busy": "true" }, h("p", { class: "nothing" }, "Making a JPEG of the same size…"));
  api.sameSize(frame.id).then((jpeg) => {
    const latents = frame.latent_bits / 8;
    const larger = jpeg.bytes > latents;
    pane.replaceChildren(
      comparison(frame, { source: jpeg.source, name: "JPEG" }, { source: frame.images.reconstruction, name: "Reconstruction" }),
      h("table", { class: "figures" },
        h("thead", {}, h("tr", {}, h("td", {}), ...["Size", "PSNR", "SSIM", "MS-SSIM"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {},
          figures("Reconstruction", frame.quality, latents),
          figures("JPEG", jpeg, jpeg.bytes, `quality ${jpeg.quality} of 100`))),
      h("p", { class: "note" }, larger
        ? "Even the smallest JPEG of this frame is larger than its latents."
        : "The best JPEG that is no larger than the latents: progressive, with colour at half the resolution and optimized Huffman tables."));
  }).catch((error) => pane.replaceChildren(h("p", { class: "nothing" }, error.message)))
    .finally(() => pane.removeAttribute("aria-busy"));
  return pane;
}
