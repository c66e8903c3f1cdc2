// The fleet at a glance: totals, what needs attention, cameras, edge nodes, and the live wall.

import * as api from "./api.js";
import { $, ago, byName, bytes, colourOf, count, decibel, h, painted, percent, plural, rate, renew } from "./dom.js";
import * as nodes from "./nodes.js";
import * as wall from "./wall.js";

let drifts = null; // until they are read
let drifted = 0; // when they were read

function stat(name, value, unit, detail, extra) {
  return h("div", { class: "stat" },
    h("h2", {}, name),
    h("p", { class: "value" }, value, unit && value !== "–" ? h("small", {}, ` ${unit}`) : null),
    extra ?? null,
    h("p", { class: "detail" }, detail));
}

function share(part) {
  const bar = h("div", { class: "share", "aria-hidden": "true" }, h("i"));
  bar.firstChild.style.width = `${Math.min(100, Math.max(0.6, part * 100))}%`;
  return bar;
}

function totals(sum, list) {
  const waiting = [
    sum.queued > 0 ? `${count(sum.queued)} waiting for the decoder` : `${count(sum.decoded)} rebuilt`,
    sum.failed > 0 ? `${count(sum.failed)} parked` : null,
  ].filter(Boolean).join(", ");
  const backlog = nodes.backlog(list);
  const raw = sum.raw_bytes > 0;
  const sent = sum.source_bytes > 0 ? 1 - sum.sourced_latent_bytes / sum.source_bytes : null;
  renew($("totals"), [
    stat("Frames", count(sum.frames), null, waiting),
    stat("Cameras live", count(sum.cameras_live), `of ${count(sum.cameras)}`, "with a frame in the last minute"),
    stat("Edge backlog", count(backlog.frames), "frames",
      list.length === 0 ? "no edge node has called yet"
        : `${bytes(backlog.bytes)} on ${backlog.connected} of ${plural(list.length, "node")} connected`),
    stat("Quality", decibel(sum.mean_psnr_db), "dB",
      sum.mean_bpp ? `mean PSNR at ${rate(sum.mean_bpp)} bit/px` : "no latents yet"),
    stat("Bandwidth saved", percent(sum.saved), null,
      raw ? `${bytes(sum.latent_bytes)} of latents for ${bytes(sum.raw_bytes)} raw${sent === null ? "" : `; ${percent(sent)} against what the cameras sent`}` : "against raw pixels",
      raw ? share(sum.latent_bytes / sum.raw_bytes) : null)]);
}

/** What a person should look at, worst first. */
function attention(sum, list) {
  const found = [];
  if (sum.failed > 0) {
    found.push(["bad", `${plural(sum.failed, "frame")} could not be decoded.`, "#/parked", "See why"]);
  }
  found.push(...nodes.attention(list));
  for (const each of drifts ?? []) {
    if (each.state === "drifting") found.push(["warn", each.sentence, "#/quality", "See drift"]);
  }
  if (sum.queued >= 50) {
    found.push(["warn", `${plural(sum.queued, "frame")} wait for the decoder: more arrive than it rebuilds.`]);
  }
  return found;
}

function alerts(sum, list) {
  const found = attention(sum, list);
  const lines = found.map(([level, text, address, name]) =>
    h("p", { class: "alert", "data-level": level }, h("i", { "aria-hidden": "true" }), h("span", {}, text),
      address ? h("a", { href: address }, name) : null));
  const well = h("p", { class: "alert", "data-level": "well" }, h("i", { "aria-hidden": "true" }),
    h("span", {}, drifts === null ? "Nothing is parked and no node is lost."
      : "All is well: nothing is parked, no node is lost, and every camera sees what it usually sees."));
  renew($("alerts"), lines.length > 0 ? lines : [well]);
}

/** Cards shown at once; with more cameras the filter in the header finds the rest. */
const SHOWN = 48;

let choose = () => {};

/** How a camera fares: its state, and the state in a word. */
function health(camera, drift) {
  if (camera.failed > 0 && camera.decoded === 0 && camera.labelled === 0) return ["bad", "failing"];
  if (drift?.state === "drifting") return ["warn", "drifting"];
  if (camera.live) return ["live", "live"];
  return ["quiet", ago(camera.last_received_ms)];
}

function fact(value, name) {
  return h("span", {}, h("b", {}, value), name);
}

function card(camera, pressed, drift) {
  const name = camera.camera;
  const [state, word] = health(camera, drift);
  const saved = camera.mean_bpp === null ? null : 1 - camera.mean_bpp / 24;
  const element = h("button", {
    type: "button", class: "camera", "aria-pressed": String(pressed), "data-camera": name,
    onclick: () => choose(name),
  },
  h("span", { class: "picture" }, camera.last_decoded
    ? h("img", { src: `/api/v1/frames/${camera.last_decoded}/thumbnail.jpg`, alt: "", decoding: "async" })
    : h("span", { class: "patches" })),
  h("span", { class: "who" }, h("i", { class: "swatch" }), h("b", {}, name), h("span", { class: "health", "data-state": state }, word)),
  h("span", { class: "numbers" },
    fact(count(camera.frames), camera.frames === 1 ? " frame" : " frames"),
    saved === null ? null : fact(percent(saved), " saved")),
  h("span", { class: "numbers" },
    camera.recent_psnr_db === null ? null : fact(decibel(camera.recent_psnr_db), " dB"),
    camera.mean_bpp === null ? null : fact(rate(camera.mean_bpp), " bit/px"),
    camera.failed > 0 ? fact(count(camera.failed), " parked") : null));
  element.querySelector(".swatch").style.background = `var(${colourOf(name)})`;
  return element;
}

/** Waits for the pictures of the cards, not for long. */
const pictured = () => Promise.race([
  new Promise((done) => setTimeout(done, 1000)),
  Promise.all([...$("cameras").querySelectorAll("img")].filter((image) => !image.complete).map((image) =>
    new Promise((done) => { image.onload = image.onerror = done; }))),
]);

function cards(list, selected) {
  const focused = document.activeElement?.dataset?.camera;
  const drift = new Map((drifts ?? []).map((each) => [each.camera, each]));
  // Those that sent last, in the order of their names, so that they do not jump while frames arrive.
  const sorted = list.slice(0, SHOWN).sort((a, b) => byName(a.camera, b.camera));
  $("cameras-note").textContent = list.length > SHOWN ? `${SHOWN} of ${count(list.length)}, those that sent last` : "";
  renew($("cameras"), sorted.map((camera) => card(camera, camera.camera === selected, drift.get(camera.camera))));
  if (focused) $("cameras").querySelector(`[data-camera="${CSS.escape(focused)}"]`)?.focus();
}

let judged = () => {}; // shows what is judged by drift

/** Drift takes longer to judge than the rest to read, and changes slowly: it is asked for when the rest is there. */
async function judge() {
  if (Date.now() - drifted < 15000) return;
  drifted = Date.now();
  drifts = await api.drift();
  judged();
}

async function numbers(camera, common) {
  const [{ sum, list }, known] = await Promise.all([common, api.nodes()]);
  totals(sum, known);
  nodes.show(known);
  judged = () => {
    alerts(sum, known);
    cards(list, camera);
  };
  judged();
}

export async function load(camera, common, drawn) {
  const [page] = await Promise.all([wall.read(camera), numbers(camera, common)]);
  if (wall.below()) {
    drawn();
    await painted();
    await pictured();
  }
  wall.show(page);
  setTimeout(() => judge().catch(() => {}), 1000);
}

export async function refresh(camera, common) {
  await numbers(camera, common);
  judge().catch(() => {});
}

export const changed = wall.add;

export function init(select) {
  choose = select;
  const blank = () => h("div", { class: "stat loading" }, h("p", {}, " "), h("p", { class: "value" }, " "));
  $("totals").replaceChildren(...Array.from({ length: 5 }, blank));
  wall.init();
}
