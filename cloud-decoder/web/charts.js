// Plots over time, one line a camera.

import * as api from "./api.js";
import { $, date, h, throttled, time } from "./dom.js";

/** Points of one camera kept in a plot. */
const KEPT = 400;
const COLOURS = 8;
const HEIGHT = 170;

const METRICS = [
  { key: "psnr_db", name: "PSNR", unit: "dB", digits: 1, steps: [1, 2, 5, 10, 20], of: (f) => f.quality?.psnr_db },
  { key: "ms_ssim", name: "MS-SSIM", unit: "", digits: 3, steps: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2], of: (f) => f.quality?.ms_ssim },
  { key: "bpp", name: "Rate", unit: "bit/px", digits: 2, steps: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2], of: (f) => (f.latent_bits > 0 ? f.bpp : null) },
];

const points = new Map(METRICS.map(({ key }) => [key, new Map()])); // metric -> camera -> [[t, v]]
const plots = new Map();
let names = [];
let selected = null;
let missed = []; // frames that came while the points were loading

/** Cameras in the order of their colours. */
export function setCameras(list) {
  for (const name of [...list].sort()) if (!names.includes(name)) names.push(name);
}

/** The CSS variable of a camera's colour. */
export function colourOf(name) {
  if (!names.includes(name)) names.push(name);
  return `--line-${names.indexOf(name) % COLOURS}`;
}

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const TIME_STEPS = [1, 5, 10, 15, 30, ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR), ...[1, 2, 7, 14, 30, 90].map((n) => n * DAY)];

function timeTicks(_, ticks, axis, space, step) {
  if (step >= DAY) return ticks.map((t) => date(t * 1000));
  return ticks.map((t) => time(t * 1000).slice(0, step < MINUTE ? 8 : 5));
}

const css = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();

function visible(metric) {
  const cameras = [...points.get(metric.key)].filter(([name, list]) =>
    list.length > 0 && (selected === null || selected === name));
  return cameras.sort(([a], [b]) => a.localeCompare(b));
}

/** Limits with some air, never so narrow that noise looks like change. */
function limits(metric) {
  const least = { psnr_db: 2, ms_ssim: 0.04, bpp: 0.1 }[metric.key];
  return (_, min, max) => {
    if (min === null) return [0, 1];
    const air = Math.max(least - (max - min), (max - min) * 0.15) / 2;
    const top = metric.key === "ms_ssim" ? Math.min(1, max + air) : max + air;
    return [Math.max(0, min - air), top];
  };
}

/** The value at an index, or the one closest to it: cameras do not capture at the same moments. */
function nearest(values, index) {
  for (let away = 0; away < values.length; away += 1) {
    const value = values[index - away] ?? values[index + away];
    if (value !== null && value !== undefined) return value;
  }
  return undefined;
}

/** A tip beside the cursor: the time, and each camera's value there. */
function tip(metric) {
  const box = h("div", { class: "tip", hidden: true });
  return {
    hooks: {
      init: (plot) => plot.over.append(box),
      setCursor: (plot) => {
        const index = plot.cursor.idx;
        box.hidden = index === null || index === undefined;
        if (box.hidden) return;
        const rows = plot.series.slice(1).flatMap((series, at) => {
          const value = nearest(plot.data[at + 1], index);
          if (value === undefined) return [];
          const swatch = h("i", { class: "swatch" });
          swatch.style.background = series.stroke();
          return [h("span", {}, swatch, series.label, h("b", {}, value.toFixed(metric.digits)))];
        });
        box.replaceChildren(h("time", {}, time(plot.data[0][index] * 1000)), ...rows);
        const left = plot.cursor.left > plot.over.clientWidth / 2;
        box.style.left = left ? "auto" : `${plot.cursor.left + 12}px`;
        box.style.right = left ? `${plot.over.clientWidth - plot.cursor.left + 12}px` : "auto";
      },
    },
  };
}

function options(metric, cameras, width) {
  const axis = { stroke: css("--muted"), font: `11px ${css("--sans")}`, grid: { stroke: css("--hair"), width: 1 }, ticks: { show: false } };
  return {
    width, height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    padding: [10, 10, 0, 0],
    scales: { x: { time: true }, y: { range: limits(metric) } },
    axes: [
      { ...axis, grid: { show: false }, size: 30, space: 70, incrs: TIME_STEPS, values: timeTicks },
      { ...axis, size: 46, space: 28, incrs: metric.steps, values: (_, ticks) => ticks.map((v) => v.toFixed(metric.digits)) },
    ],
    plugins: [tip(metric)],
    series: [{}, ...cameras.map(([name, list]) => ({
      label: name, stroke: css(colourOf(name)), width: 1.75, spanGaps: true,
      points: { show: list.length < 40, size: 5, fill: css("--surface") },
    }))],
  };
}

function draw(metric) {
  const figure = plots.get(metric.key);
  const cameras = visible(metric);
  const values = cameras.flatMap(([, list]) => list.slice(-50).map(([, value]) => value));
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  figure.now.textContent = values.length > 0 ? `${mean.toFixed(metric.digits)} ${metric.unit}`.trim() : "–";
  figure.plot?.destroy();
  figure.plot = null;
  figure.none.hidden = cameras.length > 0;
  if (cameras.length === 0) {
    // Not before all points were read: until then nobody knows.
    figure.none.textContent = metric.key === "bpp" ? "No latents yet." : "No frame came with its original yet.";
    return;
  }
  const tables = cameras.map(([, list]) => [list.map(([t]) => t), list.map(([, v]) => v)]);
  const width = figure.box.clientWidth;
  figure.plot = new uPlot(options(metric, cameras, width), uPlot.join(tables), figure.box);
}

const drawSoon = throttled(500, () => METRICS.forEach(draw));

function build() {
  for (const metric of METRICS) {
    const now = h("b", {});
    const box = h("div", { class: "plot", role: "img", "aria-label": `${metric.name} of each camera over time` });
    const none = h("p", { class: "note" });
    const caption = h("figcaption", {}, h("h3", {}, metric.name), h("span", {}, now, h("small", {}, " recent mean")));
    $("charts").append(h("figure", {}, caption, box, none));
    plots.set(metric.key, { now, box, none, plot: null });
    new ResizeObserver(() => plots.get(metric.key).plot?.setSize({ width: box.clientWidth, height: HEIGHT })).observe(box);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
}

/** Reads all points again and shows a camera, or all. */
export async function load(camera) {
  selected = camera;
  if (plots.size === 0) build();
  missed = [];
  await Promise.all(METRICS.map(async ({ key }) => {
    const series = await api.series(key);
    points.set(key, new Map(series.map((s) =>
      [s.camera, s.values.map((value, index) => [s.captured_ms[index] / 1000, value])])));
  }));
  missed.forEach(insert);
  METRICS.forEach(draw);
}

/** A decoded frame adds its points. */
export function add(frame) {
  if (frame.state !== "decoded" || plots.size === 0) return;
  missed.push(frame);
  if (missed.length > KEPT) missed.shift();
  insert(frame);
  drawSoon();
}

function insert(frame) {
  const t = frame.captured_ms / 1000;
  for (const metric of METRICS) {
    const value = metric.of(frame);
    if (value === null || value === undefined) continue;
    const cameras = points.get(metric.key);
    const list = cameras.get(frame.camera) ?? [];
    // Frames may be decoded in another order than they were captured in.
    const place = list.findLastIndex(([other]) => other <= t);
    if (list[place]?.[0] !== t) list.splice(place + 1, 0, [t, value]);
    cameras.set(frame.camera, list.slice(-KEPT));
  }
}
