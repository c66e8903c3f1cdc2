// Scene changes: how far each camera's frames are from its usual scene, and its alarms.

import * as api from "./api.js";
import { $, byName, colourOf, dateTime, decibel, h, millis, percent, renew } from "./dom.js";

/** Number of alarms that are listed, the newest first. */
const ALARMS = 20;
const STATES = { learning: ["quiet", "learning"], steady: ["live", "as usual"], drifting: ["warn", "changed"] };

/** A bar for each 16 frames, and the line that the newest must not cross. */
function bars({ windows, limit, camera }) {
  const top = Math.max(limit * 1.15, ...windows.map(({ distance }) => distance));
  const drawn = windows.map(({ distance, captured_ms }, at) => {
    const bar = h("i", { class: at === windows.length - 1 ? "newest" : null, title: `${dateTime(captured_ms)}: ${distance.toFixed(3)}` });
    bar.style.height = `${Math.max(2, (distance / top) * 100)}%`;
    return bar;
  });
  const line = h("span", { class: "limit" });
  line.style.bottom = `${(limit / top) * 100}%`;
  return h("div", { class: "bars", role: "img", "aria-label": `The newest frames of ${camera} are at distance ${windows.at(-1).distance.toFixed(3)}, the limit is ${limit.toFixed(3)}` }, ...drawn, line);
}

function change(name, { before, now }, format) {
  if (before === null || now === null) return null;
  return h("span", {}, `${name} `, h("b", {}, format(before)), " → ", h("b", {}, format(now)));
}

function card(each) {
  const [state, word] = STATES[each.state];
  const progress = h("span", { class: "share", "aria-hidden": "true" }, h("i"));
  progress.firstChild.style.width = `${Math.min(100, (each.frames / each.needed) * 100)}%`;
  const swatch = h("i", { class: "swatch" });
  swatch.style.background = `var(${colourOf(each.camera)})`;
  return h("article", { class: "card drift", "aria-label": each.camera },
    h("p", { class: "who" }, swatch, h("b", {}, each.camera), h("span", { class: "health", "data-state": state }, word)),
    each.windows.length === 0 ? progress : bars(each),
    h("p", {}, each.sentence),
    each.alarm ? h("p", { class: "note" }, `Since ${dateTime(each.alarm.begin_ms)}.`) : null,
    h("p", { class: "numbers" },
      change("PSNR", each.psnr_db, (value) => `${decibel(value)} dB`),
      change("bits set", each.latent_ones, percent)));
}

const KINDS = { drift: "scene changed", silent: "silent" };

/** One alarm: its kind, when it began, how long it lasted, and who has seen it. */
function alarm({ id, kind, camera, begin_ms, end_ms, acknowledged_by }) {
  const swatch = h("i", { class: "swatch" });
  swatch.style.background = `var(${colourOf(camera)})`;
  return h("li", { "data-id": id },
    h("span", { class: "who" }, swatch, h("b", {}, camera)),
    h("span", {}, KINDS[kind] ?? kind),
    h("time", { datetime: new Date(begin_ms).toISOString() }, dateTime(begin_ms)),
    h("span", {}, end_ms === null ? "ongoing" : `for ${millis(Math.max(0, end_ms - begin_ms))}`),
    h("span", { class: "seen" }, acknowledged_by === null ? "" : `seen by ${acknowledged_by}`));
}

const order = { drifting: 0, steady: 1, learning: 2 };

export async function load(camera) {
  const [list, { alarms }] = await Promise.all([api.drift(camera), api.alarms({ camera, limit: ALARMS })]);
  renew($("alarm-list"), alarms.length > 0 ? alarms.map(alarm) : [h("li", { class: "note" }, "There were no alarms.")]);
  list.sort((a, b) => order[a.state] - order[b.state] || byName(a.camera, b.camera));
  renew($("drifts"), list.length > 0 ? list.map(card)
    : [h("p", { class: "note" }, "No camera has sent latents yet.")]);
}
