// The service's HTTP API and its stream of events. Addresses are relative to the page, which may be behind a prefix.

import { listen } from "./stream.js";

async function get(path, method = "GET") {
  const response = await fetch(`api/v1/${path}`, { method });
  if (response.status === 401) location.assign("login.html");
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
}

const query = (parameters) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(given).toString();
};
/** A record with its pictures' addresses relative to the page; the service gives them relative to its root. */
function located(frame) {
  const images = Object.entries(frame.images).map(([name, path]) => [name, path && path.replace(/^\//, "")]);
  return { ...frame, images: Object.fromEntries(images) };
}
const one = (id) => `frames/${encodeURIComponent(id)}`;

export const summary = () => get("summary");
export const cameras = (parameters) => get(`cameras?${query(parameters)}`);
export const cameraNames = async () => (await get("cameras/names")).names;
export const alarms = (parameters) => get(`alarms?${query(parameters)}`);
export const acknowledge = (id) => get(`alarms/${id}/acknowledge`, "POST");
export const traffic = async (parameters) => (await get(`traffic?${query(parameters)}`)).lines;
export const nodes = async () => (await get("nodes")).nodes;
export const drift = async (camera) => (await get(`drift?${query({ camera })}`)).cameras;
export async function frames(parameters) {
  const page = await get(`frames?${query(parameters)}`);
  return { ...page, frames: page.frames.map(located) };
}
export const labels = (parameters) => get(`labels?${query(parameters)}`);
export const history = (parameters) => get(`history?${query(parameters)}`);
export const frame = async (id) => located(await get(one(id)));
export const patches = (id) => get(`${one(id)}/patches`);
export const retry = (id) => get(`${one(id)}/retry`, "POST");

/** The original as a JPEG of the latents' size: its address, its bytes and its quality. */
export async function sameSize(id) {
  const source = `api/v1/${one(id)}/same-size.jpg`;
  const response = await fetch(source);
  if (!response.ok) throw new Error((await response.json()).error);
  const number = (name) => (response.headers.get(name) ? Number(response.headers.get(name)) : null);
  const { size } = await response.blob();
  return {
    source, bytes: size, quality: number("x-jpeg-quality"),
    psnr_db: number("x-psnr-db"), ssim: number("x-ssim"), ms_ssim: number("x-ms-ssim"),
  };
}

let last = null; // "ready" or "lost", whichever came last before `follow` was called
let tell = { ready: () => { last = "ready"; }, lost: () => { last = "lost"; }, frame: () => {} };

const told = {
  ready: () => tell.ready(),
  frame: (text) => tell.frame(located(JSON.parse(text))),
  lost(refused) {
    tell.lost();
    if (refused) summary().catch(() => {}); // Without a login, this goes to the login page.
  },
};

/** Follows the stream that all tabs share, or a stream of its own where browsers have no shared workers. */
function join() {
  let worker;
  try {
    worker = new SharedWorker(new URL("tabs.js", import.meta.url), { type: "module", name: "patchwire" });
  } catch {
    listen(told);
    return;
  }
  const { port } = worker;
  const say = (word) => port.postMessage(word);
  worker.onerror = () => {
    worker.onerror = null;
    listen(told);
  };
  port.onmessage = ({ data }) => {
    if (data.frame) told.frame(data.frame);
    else if (data.ready) told.ready();
    else told.lost(data.refused);
  };
  say("follow");
  addEventListener("pagehide", () => say("leave"));
  addEventListener("pageshow", (event) => { if (event.persisted) say("follow"); });
}
// At once, while most modules are still loading.
join();

/**
 * Follows changes. `ready` is called whenever no change is missed from then on, `frame` with each
 * changed record, `lost` when the connection broke and is being opened again.
 */
export function follow(told) {
  tell = told;
  // Frames that changed before are not lost: `ready` makes the view read them now.
  if (last) told[last]();
}
