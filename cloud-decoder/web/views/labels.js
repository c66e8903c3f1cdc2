// Labels over time with their scores, how often each was seen, and the newest.

import * as api from "../lib/api.js";
import { $, colourOf, count, h, percent, renew, time } from "../lib/dom.js";
import { figure, onTheme } from "../lib/plot.js";
import { library } from "../views.js";

/** Labels that are plotted and counted. */
const KEPT = 500;
const PAGE = 24;
/** Labels with a line of their own; the rest are "other". */
const NAMED = 7;
const UNSURE = "unsure";

let chart = null;
let list = []; // newest first
let classes = [];
let listed = PAGE;
let camera = null;
let zoom = null; // from and to in seconds

function row({ frame, label, score, sure, camera: name, captured_ms }) {
  const bar = h("span", { class: "score", "aria-hidden": "true" }, h("i"));
  bar.firstChild.style.width = `${score * 100}%`;
  return h("li", {}, h("a", { href: `#/frame/${frame}` },
    h("span", { class: "what" }, h("b", {}, sure ? label : "unsure"), h("span", {}, sure ? percent(score) : `${label}? ${percent(score)}`)),
    bar,
    h("span", { class: "where" }, h("span", {}, name), h("time", {}, time(captured_ms)))));
}

/** Labels by how often they were seen, as [label, entries]; those that are not sure come last, together. */
function groups() {
  const found = new Map();
  for (const entry of list) {
    const name = entry.sure ? entry.label : UNSURE;
    found.set(name, [...(found.get(name) ?? []), entry]);
  }
  return [...found].sort(([one, a], [other, b]) => (one === UNSURE) - (other === UNSURE) || b.length - a.length);
}

/** Lists the classes: a label is the likeliest of these, even if the frame shows none of them. */
function known() {
  if (classes.length === 0) return "";
  return `The classifier knows ${count(classes.length)} classes and gives each frame the likeliest: ${classes.join(", ")}. Below a score of ${percent(0.9)} a label is shown as unsure.`;
}

function counts(found) {
  const rows = found.map(([label, entries]) => {
    const bar = h("span", { class: "score", "aria-hidden": "true" }, h("i"));
    bar.firstChild.style.width = `${(entries.length / list.length) * 100}%`;
    bar.firstChild.style.background = `var(${colourOf(`label ${label}`)})`;
    const mean = entries.reduce((sum, { score }) => sum + score, 0) / entries.length;
    return h("li", {}, h("span", { class: "what" }, h("b", {}, label), h("span", {}, count(entries.length))), bar,
      h("span", { class: "where" }, h("span", {}, "mean score"), h("span", {}, percent(mean))));
  });
  renew($("label-counts"), rows);
}

function draw() {
  if ($("labels").hidden) return;
  const found = groups();
  const rest = found.slice(NAMED).flatMap(([, entries]) => entries);
  const named = [...found.slice(0, NAMED), ...(rest.length > 0 ? [["other", rest]] : [])];
  chart.show(named.map(([label, entries]) => {
    const ordered = [...entries].sort((a, b) => a.captured_ms - b.captured_ms);
    return { label, colour: colourOf(`label ${label}`), times: ordered.map((e) => e.captured_ms / 1000), values: ordered.map((e) => e.score * 100) };
  }), {
    from: zoom?.[0] ?? null, to: zoom?.[1] ?? null,
    nothing: "Labels of frames that were sent with task=classify or task=both appear here.",
    mean: list.length > 0 ? (zoom ? "zoomed, double-click for all" : `newest ${count(list.length)}`) : null,
  });
  counts(found);
  renew($("label-list"), list.slice(0, listed).map(row));
  $("label-older").hidden = list.length <= listed;
  $("labels-note").textContent = [camera ? `${camera}.` : "", known()].join(" ").trim();
}

export async function load(chosen) {
  camera = chosen;
  const [answer] = await Promise.all([api.labels({ camera, limit: KEPT }), library()]);
  list = answer.labels;
  classes = answer.classes;
  draw();
}

/** New labels came with the stream. */
export async function refresh() {
  draw();
}

export function changed(frame) {
  const arrived = frame.state === "queued" || frame.state === "labelled";
  if (!frame.label || !arrived || list.some((entry) => entry.frame === frame.id)) return;
  const { label, score } = frame.label.scores[0];
  list.unshift({ frame: frame.id, camera: frame.camera, captured_ms: frame.captured_ms, label, score, sure: frame.label_sure });
  list.length = Math.min(list.length, KEPT);
}

export function init() {
  chart = figure({
    name: "Score of the likeliest label", height: 300, dots: true,
    format: (value) => `${value.toFixed(0)} %`, range: () => [0, 103], ticks: [10, 20, 25, 50],
    zoomed: (from, to) => { zoom = [from, to]; draw(); },
  });
  $("label-chart").replaceWith(chart.element);
  chart.element.id = "label-chart";
  chart.element.addEventListener("dblclick", () => { zoom = null; draw(); });
  $("label-older").addEventListener("click", () => { listed += PAGE; draw(); });
  onTheme(draw);
}
