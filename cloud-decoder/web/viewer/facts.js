// The panel beside a frame: figures, label, quality, the time that each stage took, its program, its identity.

import { isLoaded } from "../lib/decoders.js";
import { bytes, count, dateTime, decibel, h, millis, percent, rate, ratio, similarity } from "../lib/dom.js";
import { program } from "../lib/nodes.js";
import { travelled } from "../lib/traffic.js";

const PATCH = 32;

function group(name, entries, extra) {
  const rows = entries.filter(Boolean).map(([term, value, title]) =>
    h("div", {}, h("dt", { title }, term), h("dd", {}, value)));
  return h("section", {}, h("h3", {}, name), extra ?? null, h("dl", {}, ...rows));
}

function figures(frame) {
  const q = frame.quality;
  const shown = [
    q?.psnr_db != null && ["PSNR", decibel(q.psnr_db), "dB"],
    q?.ms_ssim != null && ["MS-SSIM", similarity(q.ms_ssim), ""],
    q && q.psnr_db === null && ["Seam ratio", ratio(q.seam_ratio), ""],
    frame.latent_bits > 0 && ["Rate", rate(frame.bpp), "bit/px"],
  ].filter(Boolean);
  if (shown.length === 0) return null;
  return h("div", { class: "headline" }, ...shown.map(([name, value, unit]) =>
    h("p", {}, h("span", {}, name), h("b", {}, value, unit ? h("small", {}, ` ${unit}`) : null))));
}

function scores(frame) {
  if (!frame.label) return null;
  const rows = frame.label.scores.slice(0, 5).map(({ label, score }) => {
    const bar = h("span", { class: "score", "aria-hidden": "true" }, h("i"));
    bar.firstChild.style.width = `${score * 100}%`;
    return h("li", {}, h("span", { class: "what" }, h("b", {}, label), h("span", {}, percent(score))), bar);
  });
  const name = frame.label_sure ? "Label" : "Label, unsure";
  return h("section", {}, h("h3", {}, name), h("ol", { class: "labels" }, ...rows));
}

/** A bar of parts, each a length and a colour. */
function parts(label, list) {
  const all = list.reduce((sum, [, length]) => sum + length, 0);
  const bar = h("div", { class: "parts", role: "img", "aria-label": label }, ...list.map(([name, length, colour]) => {
    const part = h("i", { title: name });
    part.style.width = `${(length / all) * 100}%`;
    part.style.background = `var(${colour})`;
    return part;
  }));
  return all > 0 ? bar : null;
}

function swatched(name, colour) {
  const swatch = h("i", { class: "swatch" });
  swatch.style.background = `var(${colour})`;
  return h("span", {}, swatch, ` ${name}`);
}

/** From the camera to the picture, each stage with the milliseconds that it took. */
function stages(frame) {
  const way = frame.received_ms - frame.captured_ms;
  const done = frame.finished_ms !== null;
  const busy = frame.decode_ms + frame.measure_ms + frame.store_ms;
  return [
    ["Encoded", frame.encode_ms, "--line-0", "On the edge node's emulated chip"],
    way >= 0 && ["Spool and link", way, "--line-1", "From the edge node's disk to this service's disk; right only if both clocks agree"],
    done && ["Waiting for a decoder", Math.max(0, frame.finished_ms - frame.received_ms - busy), "--line-7", "Until a decoder was free"],
    frame.state === "decoded" && ["Decoded", frame.decode_ms, "--line-2"],
    frame.measure_ms > 0 && ["Measured", frame.measure_ms, "--line-3"],
    frame.store_ms > 0 && ["Stored", frame.store_ms, "--line-4", "Compressed as PNG, thumbnail made, written to disk"],
  ].filter(Boolean);
}

function timing(frame) {
  const list = stages(frame);
  const whole = frame.finished_ms === null ? null : frame.finished_ms - frame.captured_ms + frame.encode_ms;
  return group("Timing", [
    ["Captured", dateTime(frame.captured_ms)],
    ...list.map(([name, ms, colour, title]) => [swatched(name, colour), millis(ms), title]),
    whole >= 0 && whole !== null && ["Capture to picture", h("b", {}, millis(whole))],
  ], parts("Share of each stage in the time from capture to picture", list));
}

const code = (text) => h("code", {}, text);

const million = (value) => `${(value / 1e6).toFixed(1)} M`;

function memory({ memory_bits: bits, budget_bits }) {
  const used = Object.values(bits).reduce((sum, each) => sum + each, 0);
  const list = [["weights", "--line-0"], ["wiring", "--line-1"], ["biases", "--line-3"], ["shifts", "--line-5"], ["maps", "--line-2"]];
  return {
    used,
    bar: parts(`Memory of the chip: ${list.map(([name]) => `${name} ${count(bits[name])} bits`).join(", ")}`,
      [...list.map(([name, colour]) => [`${name}: ${count(bits[name])} bits`, bits[name], colour]), ["free", Math.max(0, budget_bits - used), "--sunken"]]),
    rows: list.filter(([name]) => bits[name] > 0).map(([name, colour]) => [swatched(`${name[0].toUpperCase()}${name.slice(1)}`, colour), `${count(bits[name])} bits`]),
  };
}

function encoder(frame) {
  if (!frame.program_id) return null;
  const known = program(frame.program_id);
  const patches = Math.ceil(frame.width / PATCH) * Math.ceil(frame.height / PATCH);
  const chip = known ? memory(known) : null;
  return group("Encoder program", [
    known && ["Name", known.name],
    ["Bits per patch", known && known.latent_bits !== frame.latent_bits / patches
      ? `${count(frame.latent_bits / patches)} of ${count(known.latent_bits)}` : count(frame.latent_bits / patches)],
    ["Patches", count(patches)],
    known && ["Work", `${million(known.macs_per_patch)} MACs per patch`, "Multiplications and additions"],
    known && ["Layers", count(known.layers)],
    chip && ["Chip's memory", `${percent(chip.used / known.budget_bits)} of ${count(known.budget_bits)} bits`],
    ...(chip?.rows ?? []),
    ["Id", code(frame.program_id)],
  ], chip?.bar);
}

/** The decoder that made the picture, which may be another than those that are loaded now. */
function decoder({ state, decoder_id: id }) {
  if (state !== "decoded") return null;
  return group("Decoder", [
    !isLoaded(id) && ["Picture", "of an earlier decoder", "The service has another decoder now; no picture is rebuilt by itself"],
    id !== null && ["Id", code(id)],
  ]);
}

export function facts(frame) {
  const q = frame.quality;
  const latents = frame.latent_bits / 8;
  return h("div", { class: "facts", tabindex: 0, role: "region", "aria-label": "Figures" },
    figures(frame),
    scores(frame),
    group("Quality", [
      q?.ssim != null && ["SSIM", similarity(q.ssim)],
      frame.original_differs && ["Not measured", "the original decodes to other pixels here than at the edge node"],
      q && ["Seam ratio", ratio(q.seam_ratio), "Gradient across patch borders, divided by that inside patches; 1 is seamless"],
      q?.original_seam_ratio != null && ["Seam ratio of original", ratio(q.original_seam_ratio)],
      frame.latent_ones !== null && ["Latent bits set", percent(frame.latent_ones)],
    ]),
    group("Size", [
      frame.latent_bits > 0 && ["Latents", bytes(latents)],
      frame.latents !== null && travelled(frame.latents),
      frame.source_bytes !== null && ["Camera's file", bytes(frame.source_bytes)],
      frame.wire_bytes !== null && ["On the uplink", bytes(frame.wire_bytes), "The whole message, without HTTP/2, TLS and TCP"],
      frame.original_bytes > 0 && ["Of which the original", bytes(frame.original_bytes)],
      ["Raw pixels", bytes(frame.width * frame.height * 3)],
      frame.latent_bits > 0 && frame.source_bytes !== null && ["Latents, of the camera's file", percent(latents / frame.source_bytes)],
    ]),
    timing(frame),
    encoder(frame),
    decoder(frame),
    group("Identity", [
      ["Node", frame.node],
      ["Size", `${count(frame.width)} × ${count(frame.height)} px`],
      frame.source_format && ["Source", frame.source_format],
      ["Frame", code(frame.id)],
      frame.label && ["Classifier", code(frame.label.program_id)],
    ]));
}
