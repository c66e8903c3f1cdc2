// Quality, rate and latency over time, per camera or per program, and scene changes.

import * as api from "../lib/api.js";
import { $, colourOf, h, millis, renew, roundMillis, throttled } from "../lib/dom.js";
import * as drift from "../lib/drift.js";
import { figure, onTheme } from "../lib/plot.js";
import { library } from "../views.js";

const HEIGHT = 190;
const POINTS = 200;
const MINUTE = 60_000, HOUR = 3_600_000, DAY = 86_400_000;
const RANGES = [["15 min", 15 * MINUTE], ["1 h", HOUR], ["6 h", 6 * HOUR], ["24 h", DAY], ["7 d", 7 * DAY], ["30 d", 30 * DAY], ["All", null]];

const fixed = (digits) => (value) => value.toFixed(digits);
const steps = (...list) => list.flatMap((n) => [n, 2 * n, 5 * n]);
/** Limits with a margin, never so narrow that noise looks like a change. */
const around = (least, top = Infinity) => (min, max) => {
  if (min === null) return [0, 1];
  const air = Math.max(least - (max - min), (max - min) * 0.15) / 2;
  return [Math.max(0, min - air), Math.min(top, max + air)];
};
const fromZero = (_, max) => [0, (max ?? 1) * 1.1 || 1];

const METRICS = [
  { key: "psnr_db", name: "PSNR", unit: "dB", format: fixed(1), ticks: steps(1, 10), range: around(2), original: true },
  { key: "ssim", name: "SSIM", unit: "", format: fixed(3), ticks: steps(0.001, 0.01, 0.1), range: around(0.04, 1), original: true },
  { key: "ms_ssim", name: "MS-SSIM", unit: "", format: fixed(3), ticks: steps(0.001, 0.01, 0.1), range: around(0.04, 1), original: true },
  { key: "bpp", name: "Rate", unit: "bit/px", format: fixed(2), ticks: steps(0.01, 0.1, 1), range: around(0.1) },
  { key: "seam_ratio", name: "Seam visibility", unit: "", format: fixed(2), ticks: steps(0.01, 0.1, 1), range: around(0.1) },
  { key: "latency_ms", name: "Capture to picture", unit: "", format: millis, axis: roundMillis, ticks: steps(1, 10, 100, 1000, 10000, 1e5, 1e6, 1e7), range: fromZero },
  { key: "encode_ms", name: "Encoder", unit: "", format: millis, axis: roundMillis, ticks: steps(1, 10, 100, 1000, 10000), range: fromZero },
  { key: "decode_ms", name: "Decoder", unit: "", format: millis, axis: roundMillis, ticks: steps(1, 10, 100, 1000, 10000), range: fromZero },
];

const figures = new Map();
let span = { width: HOUR }; // or { from, to } once zoomed, in milliseconds
let lines = "camera";
let camera = null;
let shown = null; // the newest answer
let asked = 0;

const zoomed = () => span.from !== undefined;
const short = (name) => (lines === "program" ? name.slice(0, 12) : name);

/** First and last time of the request; `from` is null for all time. */
function bounds() {
  if (zoomed()) return [span.from, span.to];
  return [span.width === null ? null : Date.now() - span.width, null];
}

async function read() {
  const mine = (asked += 1);
  const [from, to] = bounds();
  const [answer] = await Promise.all([api.history({
    from_ms: from === null ? null : Math.round(from), to_ms: to === null ? null : Math.round(to), points: POINTS, lines, camera,
  }), library()]);
  if (mine !== asked) return;
  shown = answer;
  draw();
}

function draw() {
  if (!shown || $("quality").hidden) return;
  const total = shown.lines.reduce((sum, line) => sum + line.frames.reduce((a, b) => a + b, 0), 0);
  $("quality-note").textContent = total > 0 ? ""
    : "No frame with latents was captured in this period. Choose a longer one, or All.";
  const ranged = { from: shown.from_ms / 1000, to: shown.to_ms / 1000 };
  for (const metric of METRICS) {
    const drawn = shown.lines.map((line) => ({
      label: short(line.name), colour: colourOf(line.name),
      times: line.captured_ms.map((ms) => ms / 1000), values: line[metric.key],
    }));
    const [sum, count] = shown.lines.reduce(([sum, count], line) => line[metric.key].reduce(
      ([s, c], value, at) => (value === null ? [s, c] : [s + value * line.frames[at], c + line.frames[at]]), [sum, count]), [0, 0]);
    figures.get(metric.key).show(drawn, {
      ...ranged,
      nothing: total > 0 && metric.original ? "No frame came with its original in this period." : "No data in this period.",
      mean: count > 0 ? `${metric.format(sum / count)} ${metric.unit}`.trim() : null,
    });
  }
  renew($("legend"), shown.lines.map((line) => {
    const swatch = h("i", { class: "swatch" });
    swatch.style.background = `var(${colourOf(line.name)})`;
    return h("li", { title: line.name }, swatch, short(line.name));
  }));
  tools();
}

const readSoon = throttled(250, () => read().catch(() => {}));

function zoom(from, to) {
  if (to - from < 1000) return;
  span = { from, to };
  readSoon();
}

/** Zooms to the middle `part` of the shown period, moved by a fraction of it. */
function shift(part, move) {
  if (!shown) return;
  const [from, to] = [shown.from_ms, shown.to_ms];
  const middle = (from + to) / 2 + move * (to - from);
  const half = Math.max(500, ((to - from) * part) / 2);
  zoom(Math.max(0, middle - half), middle + half);
}

function button(name, label, pressed, onclick) {
  return h("button", { type: "button", "aria-pressed": pressed === null ? null : String(pressed), "aria-label": label, title: label, onclick }, name);
}

function tools() {
  const focused = document.activeElement?.closest?.("#quality-tools button")?.textContent;
  const ranges = RANGES.map(([name, width]) => button(name, null, !zoomed() && span.width === width, () => {
    span = { width };
    readSoon();
    tools();
  }));
  const by = [["Cameras", "camera"], ["Programs", "program"]].map(([name, value]) => button(name, null, lines === value, () => {
    lines = value;
    readSoon();
    tools();
  }));
  renew($("quality-tools"), [
    h("div", { class: "segments", role: "group", "aria-label": "Lines" }, ...by),
    h("div", { class: "segments", role: "group", "aria-label": "Time" }, ...ranges),
    h("div", { class: "segments", role: "group", "aria-label": "Zoom" },
      button("‹", "Earlier", null, () => shift(1, -0.5)), button("−", "Zoom out", null, () => shift(2, 0)),
      button("+", "Zoom in", null, () => shift(0.5, 0)), button("›", "Later", null, () => shift(1, 0.5)))]);
  if (focused) [...$("quality-tools").querySelectorAll("button")].find((each) => each.textContent === focused)?.focus();
}

export async function load(chosen) {
  camera = chosen;
  await Promise.all([read(), drift.load(camera)]);
}

export async function refresh() {
  // A zoomed period stands still.
  await Promise.all([zoomed() ? null : read(), drift.load(camera)]);
}

export function changed() {}

export function init() {
  for (const metric of METRICS) {
    const made = figure({ ...metric, height: HEIGHT, zoomed: (from, to) => zoom(from * 1000, to * 1000) });
    figures.set(metric.key, made);
    $("charts").append(made.element);
  }
  tools();
  onTheme(draw);
}
