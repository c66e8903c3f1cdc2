// The band of totals, and the decoder's line in the header.

import { $, bytes, count, decibel, h, percent, rate } from "./dom.js";

function stat(name, value, unit, detail, extra) {
  return h("div", { class: "stat" },
    h("h3", {}, name),
    h("p", { class: "value" }, value, unit && value !== "–" ? h("small", {}, ` ${unit}`) : null),
    extra ?? null,
    h("p", { class: "detail" }, detail));
}

export function skeleton() {
  const blank = () => h("div", { class: "stat loading" }, h("h3", {}, " "), h("p", { class: "value" }, " "));
  $("totals").replaceChildren(...Array.from({ length: 5 }, blank));
}

function share(part) {
  const bar = h("div", { class: "share", "aria-hidden": "true" }, h("i"));
  bar.firstChild.style.width = `${Math.max(0.6, part * 100)}%`;
  return bar;
}

export function show(sum) {
  const waiting = [
    sum.queued > 0 ? `${count(sum.queued)} waiting for the decoder` : `${count(sum.decoded)} rebuilt`,
    sum.failed > 0 ? `${count(sum.failed)} failed` : null,
  ].filter(Boolean).join(", ");
  const raw = sum.raw_bytes > 0;
  $("totals").replaceChildren(
    stat("Frames", count(sum.frames), null, waiting),
    stat("Mean PSNR", decibel(sum.mean_psnr_db), "dB", "of frames with original"),
    stat("Mean rate", rate(sum.mean_bpp), "bit/px",
      sum.mean_bpp ? `${count(sum.decoder.bits_per_patch)} bits per 32×32 patch` : "no latents yet"),
    stat("Cameras live", count(sum.cameras_live), `of ${count(sum.cameras)}`, "with a frame in the last minute"),
    stat("Bandwidth saved", percent(sum.saved), null,
      raw ? `${bytes(sum.latent_bytes)} of latents for ${bytes(sum.raw_bytes)} raw` : "against raw pixels",
      raw ? share(sum.latent_bytes / sum.raw_bytes) : null));
  const id = sum.decoder.program_id;
  $("decoder").replaceChildren("Program ", h("code", { title: id }, id.slice(0, 12)));
}
