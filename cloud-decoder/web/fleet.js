// The fleet at a glance: totals, what needs attention, cameras, edge nodes, and the live wall.

import * as api from "./api.js";
import { $, bytes, count, decibel, h, painted, percent, plural, rate, renew } from "./dom.js";
import * as cameras from "./cameras.js";
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

let judged = () => {}; // shows what is judged by drift

/** Drift takes longer to judge than the rest to read, and changes slowly. */
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
    cameras.show(list, camera, drifts ?? []);
  };
  judged();
}

export async function load(camera, common, drawn) {
  const [page] = await Promise.all([wall.read(camera), numbers(camera, common)]);
  if (wall.below()) {
    drawn();
    await painted();
  }
  wall.show(page);
  judge().catch(() => {});
}

export async function refresh(camera, common) {
  await numbers(camera, common);
  judge().catch(() => {});
}

export const changed = wall.add;

export function init(choose) {
  const blank = () => h("div", { class: "stat loading" }, h("p", {}, " "), h("p", { class: "value" }, " "));
  $("totals").replaceChildren(...Array.from({ length: 5 }, blank));
  cameras.init(choose);
  wall.init();
}
