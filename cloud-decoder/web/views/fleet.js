// The fleet: totals, alerts, cameras, edge nodes, and the newest frames.

import * as api from "../lib/api.js";
import { $, ago, bytes, colourOf, count, dateTime, decibel, h, painted, percent, plural, rate, renew } from "../lib/dom.js";
import * as nodes from "../lib/nodes.js";
import * as bytesOf from "../lib/traffic.js";
import * as wall from "../lib/wall.js";

/** Cards shown at first, and added by each press of the button below them. */
const PAGE = 48;
/** Most cameras of one answer. */
const ANSWER = 500;
/** Alarms listed one by one; the rest are counted. */
const LISTED = 12;

let wanted = PAGE; // cards
let redraw = () => {};

function stat(name, value, unit, detail, extra) {
  return h("div", { class: "stat" },
    h("h2", {}, name),
    h("p", { class: "value" }, value, unit && value !== "–" ? h("small", {}, ` ${unit}`) : null),
    extra ?? null,
    h("p", { class: "detail" }, detail));
}

function bandwidth({ traffic, traffic_days: days, saved }) {
  const all = bytesOf.uplink(traffic);
  const originals = traffic.original_bytes > 0 ? `, ${percent(traffic.original_bytes / all)} of it originals` : "";
  const against = saved === null ? `latents ${bytes(traffic.latent_bytes)}${originals}`
    : `${saved >= 0 ? `${percent(saved)} less` : `${percent(-saved)} more`} than the ${bytes(traffic.source_bytes)} that cameras sent${originals}`;
  const coding = traffic.saved_bytes > 0 ? `; coding took ${percent(bytesOf.saved(traffic))} off the latents` : "";
  return stat(`Uplink, ${days} days`, bytes(all), null, all > 0 ? `${against}${coding}` : "no bytes were sent", bytesOf.kinds(traffic));
}

function totals(sum, list) {
  const waiting = [
    sum.queued > 0 ? `${count(sum.queued)} waiting for a decoder, the oldest since ${ago(sum.queued_since_ms)}` : `${count(sum.decoded)} rebuilt`,
    sum.failed > 0 ? `${count(sum.failed)} parked` : null,
  ].filter(Boolean).join(", ");
  const backlog = nodes.backlog(list);
  renew($("totals"), [
    stat("Frames", count(sum.frames), null, waiting),
    stat("Cameras live", count(sum.cameras_live), `of ${count(sum.cameras)}`, "with a frame in the last minute"),
    stat("Edge backlog", count(backlog.frames), "frames",
      list.length === 0 ? "no edge node has connected yet"
        : `${bytes(backlog.bytes)}; ${backlog.connected} of ${plural(list.length, "node")} connected`),
    stat("Quality", decibel(sum.mean_psnr_db), "dB",
      sum.mean_bpp ? `mean PSNR at ${rate(sum.mean_bpp)} bit/px` : "no latents yet"),
    bandwidth(sum)]);
}

/** A line about an alarm, and the button that acknowledges it. */
function alarmed({ id, kind, sentence, begin_ms, acknowledged_by }) {
  const silent = kind === "silent";
  const seen = acknowledged_by === null ? null : `seen by ${acknowledged_by}`;
  const button = h("button", {
    type: "button", class: "quiet", onclick: async () => {
      button.disabled = true;
      try {
        await api.acknowledge(id);
        redraw();
      } catch (error) {
        button.textContent = error.message;
      }
    },
  }, silent ? "Acknowledge" : "Accept this scene");
  return { level: silent ? "bad" : "warn", text: `${sentence} Since ${dateTime(begin_ms)}.`,
    more: seen ? h("span", { class: "seen" }, seen) : button };
}

const link = (address, name) => h("a", { href: address }, name);

/** The conditions that a person should look at, worst first. */
function attention(sum, list, alarms) {
  const found = [];
  const told = alarms.map(alarmed);
  found.push(...told.filter(({ level }) => level === "bad"));
  if (sum.certificate_expires_ms !== null) {
    const over = sum.certificate_expires_ms <= Date.now();
    const when = dateTime(sum.certificate_expires_ms);
    found.push({ level: "bad", text: over ? `The certificate of this service expired at ${when}: edge nodes and browsers refuse it.`
      : `The certificate of this service expires at ${when}. Replace the files that tls.cert and tls.key name.` });
  }
  if (sum.failed > 0) {
    found.push({ level: "bad", text: `${plural(sum.failed, "frame")} could not be decoded.`, more: link("#/parked", "Show them") });
  }
  found.push(...nodes.attention(list).map(([level, text]) => ({ level, text })));
  found.push(...told.filter(({ level }) => level === "warn"));
  if (sum.alarms > alarms.length) {
    found.push({ level: "warn", text: `${plural(sum.alarms - alarms.length, "further alarm")}: the cameras below are in order of urgency.` });
  }
  if (sum.queued >= 50) {
    found.push({ level: "warn", text: `${plural(sum.queued, "frame")} wait for a decoder: they arrive faster than they are decoded.` });
  }
  return found;
}

/** The line when nothing needs attention: the checks that were made, and the cameras that cannot be checked yet. */
function well(sum) {
  const checked = "All is well: no frame is parked, no node is disconnected, no camera is silent, and every camera sees its usual scene";
  const learning = sum.cameras_learning > 0 ? `, except ${plural(sum.cameras_learning, "camera")} whose usual scene is still being learned` : "";
  return h("p", { class: "alert", "data-level": "well" }, h("i", { "aria-hidden": "true" }), h("span", {}, `${checked}${learning}.`));
}

function alerts(sum, list, alarms) {
  const lines = attention(sum, list, alarms).map(({ level, text, more }) =>
    h("p", { class: "alert", "data-level": level }, h("i", { "aria-hidden": "true" }), h("span", {}, text), more ?? null));
  // Buttons are made anew, because each belongs to one alarm.
  $("alerts").replaceChildren(...(lines.length > 0 ? lines : [well(sum)]));
}

let choose = () => {};

/** The state of a camera, and its text. */
function health(camera) {
  if (camera.silent_since_ms !== null) return ["bad", `silent, ${ago(camera.silent_since_ms)}`];
  if (camera.failed > 0 && camera.decoded === 0 && camera.labelled === 0) return ["bad", "failing"];
  if (camera.changed_since_ms !== null) return ["warn", "scene changed"];
  if (camera.live) return ["live", "live"];
  return ["quiet", ago(camera.last_received_ms)];
}

function fact(value, name) {
  return h("span", {}, h("b", {}, value), name);
}

/** A camera's latents: their bytes, and the ways in which they travelled. */
function latents(traffic) {
  return h("span", { class: "latents" },
    h("span", { class: "numbers" },
      fact(bytes(traffic.latent_bytes / traffic.frames), " latents"),
      traffic.saved_bytes > 0 ? fact(percent(bytesOf.saved(traffic)), " saved") : null),
    bytesOf.ways(traffic));
}

function card(camera, pressed, traffic) {
  const name = camera.camera;
  const [state, word] = health(camera);
  const element = h("button", {
    type: "button", class: "camera", "aria-pressed": String(pressed), "data-camera": name,
    onclick: () => choose(name),
  },
  h("span", { class: "picture" }, camera.last_decoded
    ? h("img", { src: `api/v1/frames/${camera.last_decoded}/thumbnail.jpg`, alt: "", decoding: "async" })
    : h("span", { class: "patches" })),
  h("span", { class: "who" }, h("i", { class: "swatch" }), h("b", {}, name), h("span", { class: "health", "data-state": state }, word)),
  h("span", { class: "numbers" },
    fact(count(camera.frames), camera.frames === 1 ? " frame" : " frames"),
    traffic?.frames > 0 ? fact(bytes(bytesOf.uplink(traffic) / traffic.frames), " each") : null),
  h("span", { class: "numbers" },
    camera.recent_psnr_db === null ? null : fact(decibel(camera.recent_psnr_db), " dB"),
    camera.mean_bpp === null ? null : fact(rate(camera.mean_bpp), " bit/px"),
    camera.failed > 0 ? fact(count(camera.failed), " parked") : null),
  traffic?.latent_bytes > 0 ? latents(traffic) : null);
  element.querySelector(".swatch").style.background = `var(${colourOf(name)})`;
  return element;
}

/** Waits for the pictures of the cards, a second at most. */
const pictured = () => Promise.race([
  new Promise((done) => setTimeout(done, 1000)),
  Promise.all([...$("cameras").querySelectorAll("img")].filter((image) => !image.complete).map((image) =>
    new Promise((done) => { image.onload = image.onerror = done; }))),
]);

function cards({ cameras, total, next }, selected, traffic) {
  const focused = document.activeElement?.dataset?.camera;
  const sent = new Map(traffic.map((line) => [line.name, line]));
  $("cameras-note").textContent = next === null ? "" : `${count(cameras.length)} of ${count(total)}, the most urgent first`;
  $("more-cameras").hidden = next === null;
  renew($("cameras"), cameras.map((camera) => card(camera, camera.camera === selected, sent.get(camera.camera))));
  if (focused) $("cameras").querySelector(`[data-camera="${CSS.escape(focused)}"]`)?.focus();
}

/** The cameras whose cards are shown. */
async function read() {
  const pages = [];
  for (let offset = 0; offset < wanted; offset += ANSWER) {
    pages.push(api.cameras({ limit: Math.min(ANSWER, wanted - offset), offset }));
  }
  const read = await Promise.all(pages);
  return { ...read.at(-1), cameras: read.flatMap(({ cameras }) => cameras) };
}

async function numbers(camera, common) {
  const [{ sum }, known, list, standing, traffic, byNode] = await Promise.all([
    common, api.nodes(), read(), api.alarms({ standing: true, limit: LISTED }),
    api.traffic({ by: "camera" }), api.traffic({ by: "node" }),
  ]);
  totals(sum, known);
  nodes.show(known, new Map(byNode.map((line) => [line.name, bytesOf.uplink(line)])));
  alerts(sum, known, standing.alarms);
  cards(list, camera, traffic);
}

export async function load(camera, common, drawn) {
  redraw = () => refresh(camera, api.summary().then((sum) => ({ sum }))).catch(() => {});
  const [page] = await Promise.all([wall.read(camera), numbers(camera, common)]);
  if (wall.below()) {
    drawn();
    await painted();
    await pictured();
  }
  wall.show(page);
}

export async function refresh(camera, common) {
  await numbers(camera, common);
}

export const changed = wall.add;

export function init(select) {
  choose = select;
  const blank = () => h("div", { class: "stat loading" }, h("p", {}, " "), h("p", { class: "value" }, " "));
  $("totals").replaceChildren(...Array.from({ length: 5 }, blank));
  $("more-cameras").addEventListener("click", () => {
    wanted += PAGE;
    redraw();
  });
  wall.init();
}
