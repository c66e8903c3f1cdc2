// Plots over time with uPlot: axes, a tip beside the cursor, zoom by dragging.

import { css, date, h, time } from "./dom.js";

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const TIME_STEPS = [1, 5, 10, 15, 30, ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR), ...[1, 2, 7, 14, 30, 90, 365].map((n) => n * DAY)];

function timeTicks(_, ticks, axis, space, step) {
  if (step >= DAY) return ticks.map((t) => date(t * 1000));
  return ticks.map((t) => time(t * 1000).slice(0, step < MINUTE ? 8 : 5));
}

/** The value at an index, or the nearest one, because cameras do not capture at the same moments. */
function nearest(values, index) {
  for (let away = 0; away < values.length; away += 1) {
    const value = values[index - away] ?? values[index + away];
    if (value !== null && value !== undefined) return value;
  }
  return undefined;
}

/** A tip beside the cursor: the time, and each line's value there. */
function tip(format) {
  const box = h("div", { class: "tip", hidden: true });
  return {
    hooks: {
      init: (plot) => plot.over.append(box),
      setCursor: (plot) => {
        const index = plot.cursor.idx;
        box.hidden = index === null || index === undefined || plot.data[0].length === 0;
        if (box.hidden) return;
        const rows = plot.series.slice(1).flatMap((series, at) => {
          const value = nearest(plot.data[at + 1], index);
          if (value === undefined) return [];
          const swatch = h("i", { class: "swatch" });
          swatch.style.background = series.stroke();
          return [h("span", {}, swatch, series.label, h("b", {}, format(value)))];
        });
        box.replaceChildren(h("time", {}, time(plot.data[0][index] * 1000)), ...rows.slice(0, 9));
        const left = plot.cursor.left > plot.over.clientWidth / 2;
        box.style.left = left ? "auto" : `${plot.cursor.left + 12}px`;
        box.style.right = left ? `${plot.over.clientWidth - plot.cursor.left + 12}px` : "auto";
      },
    },
  };
}

/** Number of points up to which each point is marked; more marks would hide the lines. */
const MARKED = 240;

let wanted = []; // plots that are to be made

/** Makes plots together, after all other changes, so that the page is laid out once and not for each plot. */
function plotSoon(box, make) {
  wanted.push([box, make]);
  if (wanted.length > 1) return;
  queueMicrotask(() => {
    const sized = wanted.map(([box, make]) => [box.clientWidth, make]);
    wanted = [];
    for (const [width, make] of sized) make(width);
  });
}

/**
 * A figure with a plot. `format` writes a value, `axis` writes a tick, `range` gives the axis' limits for the smallest
 * and the largest value, and `zoomed(from, to)` is called with seconds when a part was selected.
 */
export function figure({ name, height, format, axis: onAxis = format, range, ticks, zoomed, dots = false }) {
  const now = h("b", {});
  const box = h("div", { class: "plot", role: "img", "aria-label": name });
  const none = h("p", { class: "note none" }, "Reading…");
  const element = h("figure", { class: "card" },
    h("figcaption", {}, h("h2", {}, name), h("span", {}, now)), box, none);
  let plot = null;
  let lines = [];

  function options(width, from, to) {
    const marked = lines.reduce((sum, { times }) => sum + times.length, 0) <= MARKED;
    const axis = { stroke: css("--muted"), font: `11px ${css("--sans")}`, grid: { stroke: css("--hair"), width: 1 }, ticks: { show: false } };
    return {
      width, height,
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      padding: [10, 10, 0, 0],
      scales: { x: { time: true, range: (_, min, max) => (from === null ? [min, Math.max(max, min + 1)] : [from, to]) }, y: { range: (_, min, max) => range(min, max) } },
      axes: [
        { ...axis, grid: { show: false }, size: 30, space: 76, incrs: TIME_STEPS, values: timeTicks },
        { ...axis, size: 50, space: 30, incrs: ticks, values: (_, shown) => shown.map(onAxis) },
      ],
      hooks: {
        setSelect: [(self) => {
          if (self.select.width < 8) return;
          const [start, end] = [self.select.left, self.select.left + self.select.width].map((at) => self.posToVal(at, "x"));
          self.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          zoomed(start, end);
        }],
      },
      plugins: [tip(format)],
      series: [{}, ...lines.map(({ label, colour, times }) => ({
        label, stroke: css(colour), width: dots ? 0 : 1.75, spanGaps: true,
        paths: dots ? () => null : undefined,
        points: { show: dots || marked || times.length === 1, size: dots ? 7 : 5, width: dots ? 0 : 1.5, fill: dots ? css(colour) : css("--surface"), stroke: css(colour) },
      }))],
    };
  }

  /** Shows lines of `{ label, colour, times (seconds), values }` between two times, or as far as they go. */
  function show(given, { from = null, to = null, nothing = "No data in this period.", mean = null } = {}) {
    lines = given.filter(({ values }) => values.some((value) => value !== null));
    now.textContent = mean ?? "";
    none.hidden = lines.length > 0;
    none.textContent = nothing;
    box.hidden = lines.length === 0;
    plot?.destroy();
    plot = null;
    if (lines.length === 0) return;
    const said = lines.map(({ label, values }) => {
      const last = values.findLast((value) => value !== null);
      return `${label} ${format(last)}`;
    });
    box.setAttribute("aria-label", `${name} over time, newest: ${said.slice(0, 8).join(", ")}`);
    const table = uPlot.join(lines.map(({ times, values }) => [times, values]));
    const mine = lines;
    plotSoon(box, (width) => {
      if (lines === mine) plot = new uPlot(options(width, from, to), table, box);
    });
  }

  new ResizeObserver(() => {
    const width = box.clientWidth;
    if (plot && width > 0 && width !== plot.width) plot.setSize({ width, height });
  }).observe(element);
  return { element, show };
}

/** Calls back when the theme changes between light and dark. */
export function onTheme(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
