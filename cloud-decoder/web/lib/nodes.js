// Edge nodes: whether they are connected, the state of their spools, and the programs on their chips.

import * as api from "./api.js";
import { $, ago, bytes, count, h, percent, plural, renew } from "./dom.js";

/** Fill of the spool from which a node sends fewer bits per patch. */
const HALF = 0.5;

let programs = new Map(); // id -> program, of all nodes

const fill = (spool) => (spool.max_bytes > 0 ? spool.bytes / spool.max_bytes : 0);

export function backlog(list) {
  const told = list.map((node) => node.spool).filter(Boolean);
  return {
    frames: told.reduce((sum, spool) => sum + spool.frames, 0),
    bytes: told.reduce((sum, spool) => sum + spool.bytes, 0),
    connected: list.filter((node) => node.connected).length,
  };
}

/** The last known state of the spool of a node that is disconnected. */
function left(spool) {
  if (!spool) return "It never reported how many frames wait on its disk.";
  if (spool.frames === 0) return "Its spool was empty when it was last heard of.";
  return `When it was last heard of, ${plural(spool.frames, "frame")} waited on its disk; they arrive once it connects again.`;
}

/** The conditions that a person should look at. */
export function attention(list) {
  return list.flatMap(({ node, connected, changed_ms, spool }) => [
    !connected && ["bad", `${node} disconnected ${ago(changed_ms)}. ${left(spool)}`],
    connected && spool && fill(spool) >= HALF && ["warn",
      `${node} has ${plural(spool.frames, "frame")} in its spool, which is ${percent(fill(spool))} full: the link is too thin, so it sends ${count(spool.bits_per_patch)} bits per patch.`],
    spool?.held > 0 && ["bad",
      `${node} holds ${plural(spool.held, "frame")} that this cloud does not accept, because they are larger than decode.max_pixels or grpc.max_message_bytes. They wait in its spool.`],
    spool?.dropped > 0 && ["bad", `${node} lost ${plural(spool.dropped, "frame")}: its spool was full, they expired or were damaged.`],
  ].filter(Boolean));
}

const remember = (list) => { programs = new Map(list.flatMap((node) => node.programs.map((each) => [each.id, each]))); };

/** A program by its id, if a node has reported it. */
export const program = (id) => programs.get(id);

/** Reads the nodes' programs, once. */
export async function know() {
  if (programs.size === 0) remember(await api.nodes());
}

function card({ node, connected, changed_ms, version, spool, programs: loaded }, sent) {
  const state = connected ? ["live", "connected"] : ["bad", `disconnected ${ago(changed_ms)}`];
  const bar = h("span", { class: "share", "aria-hidden": "true" }, h("i"));
  bar.firstChild.style.width = `${spool ? Math.min(100, fill(spool) * 100) : 0}%`;
  return h("article", { class: "node", "aria-label": node },
    h("p", { class: "who" }, h("b", {}, node), h("span", { class: "health", "data-state": state[0] }, state[1])),
    spool ? h("p", { class: "wait" }, h("b", {}, count(spool.frames)), spool.frames === 1 ? " frame waits" : " frames wait",
      h("span", {}, `${bytes(spool.bytes)} of ${bytes(spool.max_bytes)}`)) : h("p", { class: "wait" }, "does not report its spool"),
    bar,
    h("p", { class: "numbers" },
      spool ? h("span", {}, h("b", {}, count(spool.bits_per_patch)), " bits per patch") : null,
      h("span", {}, loaded.length > 0 ? loaded.map((each) => each.name).join(", ") : "programs unknown"),
      sent === undefined ? null : h("span", {}, h("b", {}, bytes(sent)), " in 7 days"),
      h("span", {}, `v${version}`)));
}

/** Shows the nodes, with the bytes that each has sent by its name. */
export function show(list, sent) {
  remember(list);
  renew($("nodes"), list.length > 0 ? list.map((node) => card(node, sent.get(node.node)))
    : [h("p", { class: "note" }, "No edge node has connected since this service started.")]);
}
