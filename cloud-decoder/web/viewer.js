// One frame in full: original against reconstruction, its figures, timing and identity.

import * as api from "./api.js";
import { $, bytes, count, dateTime, decibel, h, millis, percent, rate, ratio, similarity } from "./dom.js";

let current = null; // the shown frame
let mode = "slider";
let neighbour = () => null;

function slider(frame) {
  const { original, reconstruction } = frame.images;
  const box = h("div", { class: "slider" },
    h("img", { src: reconstruction, alt: "Reconstruction", draggable: "false" }),
    h("img", { class: "over", src: original, alt: "Original", draggable: "false" }),
    h("span", { class: "tag left" }, "Original"),
    h("span", { class: "tag right" }, "Reconstruction"),
    h("span", { class: "handle", "aria-hidden": "true" }, h("i")),
    h("input", { type: "range", min: 0, max: 100, step: 2, value: 50, "aria-label": "Share of the original that is shown" }));
  box.style.setProperty("--ratio", frame.width / frame.height);
  const input = box.querySelector("input");
  const place = (percent) => box.style.setProperty("--at", `${percent}%`);
  const follow = (event) => {
    const { left, width } = box.getBoundingClientRect();
    const at = Math.min(100, Math.max(0, ((event.clientX - left) / width) * 100));
    input.value = at;
    place(at);
  };
  input.addEventListener("input", () => place(input.value));
  box.addEventListener("pointerdown", (event) => {
    box.setPointerCapture(event.pointerId);
    follow(event);
    input.focus({ preventScroll: true });
    event.preventDefault();
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) follow(event);
  });
  return box;
}

function single(frame, source, name) {
  const image = h("img", { src: source, alt: name });
  image.style.aspectRatio = frame.width / frame.height;
  return h("figure", {}, image, h("figcaption", {}, name));
}

function stage(frame) {
  const { original, reconstruction } = frame.images;
  if (original && reconstruction) {
    if (mode === "slider") return slider(frame);
    return h("div", { class: "pair" }, single(frame, original, "Original"), single(frame, reconstruction, "Reconstruction"));
  }
  if (reconstruction) return h("div", { class: "pair one" }, single(frame, reconstruction, "Reconstruction; this frame came without its original"));
  if (original) return h("div", { class: "pair one" }, single(frame, original, "Original"));
  const text = {
    queued: "Waiting for the decoder. The picture appears here by itself.",
    labelled: "Only a label was sent, there is no picture.",
    failed: `Decoding failed: ${frame.failure}`,
  }[frame.state];
  return h("div", { class: "nothing" }, h("span", { class: "patches" }), h("p", {}, text),
    frame.state === "failed" ? again(frame) : null);
}

/** Asks for one more attempt; the frame's next record brings the outcome. */
function again(frame) {
  const told = h("p", { role: "status" });
  const button = h("button", {
    type: "button", class: "quiet", onclick: async () => {
      button.disabled = true;
      try {
        await api.retry(frame.id);
      } catch (error) {
        told.textContent = error.message;
        button.disabled = false;
      }
    },
  }, "Decode again");
  return h("div", {}, button, told);
}

function group(name, entries) {
  const rows = entries.filter(Boolean).map(([term, value, title]) =>
    h("div", {}, h("dt", { title }, term), h("dd", {}, value)));
  return h("section", {}, h("h3", {}, name), h("dl", {}, ...rows));
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
  return h("section", {}, h("h3", {}, "Label"), h("ol", { class: "labels" }, ...rows));
}

const code = (text) => h("code", {}, text);

function facts(frame) {
  const q = frame.quality;
  const delay = frame.received_ms - frame.captured_ms;
  return h("div", { class: "facts" },
    figures(frame),
    scores(frame),
    group("Quality", [
      q?.ssim != null && ["SSIM", similarity(q.ssim)],
      q && ["Seam ratio", ratio(q.seam_ratio), "Gradient across patch borders over that inside; 1 is seamless"],
      q?.original_seam_ratio != null && ["Seam ratio of original", ratio(q.original_seam_ratio)],
      ["Latents", frame.latent_bits > 0 ? bytes(frame.latent_bits / 8) : "–"],
      frame.latent_ones !== null && ["Latent bits set", percent(frame.latent_ones)],
    ]),
    group("Timing", [
      ["Captured", dateTime(frame.captured_ms)],
      ["Received", delay >= 0 ? `${millis(delay)} later` : dateTime(frame.received_ms)],
      ["Encoder", millis(frame.encode_ms)],
      ["Decoder", frame.state === "decoded" ? millis(frame.decode_ms) : "–"],
    ]),
    group("Identity", [
      ["Node", frame.node],
      ["Size", `${count(frame.width)} × ${count(frame.height)} px`],
      frame.source_format && ["Source", frame.source_format],
      ["Frame", code(frame.id)],
      frame.program_id && ["Program", code(frame.program_id)],
      frame.label && ["Classifier", code(frame.label.program_id)],
    ]));
}

function step(direction) {
  const id = current && neighbour(current.id, direction);
  if (id) location.replace(`#/frame/${id}`);
}

function segment(name, value) {
  return h("button", {
    type: "button", "aria-pressed": String(mode === value),
    onclick: () => { mode = value; render(); },
  }, name);
}

function render() {
  const frame = current;
  const both = frame.images.original && frame.images.reconstruction;
  const arrow = (label, text, direction) => h("button", {
    type: "button", class: "quiet", "aria-label": label, title: label,
    disabled: neighbour(frame.id, direction) === null, onclick: () => step(direction),
  }, text);
  $("viewer").replaceChildren(
    h("header", {},
      h("div", { class: "named" },
        h("h2", { id: "viewer-title" }, frame.camera),
        h("p", { class: "note" }, dateTime(frame.captured_ms))),
      both ? h("div", { class: "segments", role: "group", "aria-label": "Comparison" },
        segment("Slider", "slider"), segment("Side by side", "pair")) : null,
      h("div", { class: "actions" },
        arrow("Newer frame", "←", -1), arrow("Older frame", "→", 1),
        h("button", { type: "button", class: "quiet", "aria-label": "Close", title: "Close", onclick: close }, "✕"))),
    h("div", { class: "body" }, h("div", { class: "stage" }, stage(frame)), facts(frame)));
}

function close() {
  $("viewer").close();
}

async function route() {
  const id = location.hash.match(/^#\/frame\/([0-9a-f-]{36})$/)?.[1];
  if (!id) {
    current = null;
    if ($("viewer").open) close();
    return;
  }
  try {
    current = await api.frame(id);
    render();
  } catch (error) {
    current = null;
    $("viewer").replaceChildren(h("div", { class: "nothing" },
      h("p", { id: "viewer-title" }, error.message),
      h("button", { type: "button", class: "quiet", onclick: close }, "Close")));
  }
  if (!$("viewer").open) $("viewer").showModal();
}

/** The shown frame may have been decoded meanwhile. */
export function changed(frame) {
  if (current?.id !== frame.id) return;
  current = frame;
  render();
}

export function init(neighbourOf) {
  neighbour = neighbourOf;
  addEventListener("hashchange", route);
  $("viewer").addEventListener("close", () => {
    if (location.hash) history.pushState(null, "", location.pathname);
    current = null;
  });
  $("viewer").addEventListener("click", (event) => {
    if (event.target === $("viewer")) close();
  });
  $("viewer").addEventListener("keydown", (event) => {
    if (event.target.type === "range") return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  route();
}
