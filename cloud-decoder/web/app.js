// Boots the page: shows the view that the address names, then follows the stream of changes.

import * as api from "./api.js";
import { $, byName, count, h, throttled } from "./dom.js";
import { setCameras } from "./colours.js";
import * as fleet from "./fleet.js";
import * as labels from "./labels.js";
import * as parked from "./parked.js";
import * as quality from "./quality.js";
import * as viewer from "./viewer.js";
import * as wall from "./wall.js";

const VIEWS = { fleet, quality, labels, parked };

let view = null; // name of the shown view
let camera = null; // the camera that all views show, or null for all
let connected = false;
let empty = false;
let missed = null; // changed frames while the view is being read, null when it is not

function link(state, text) {
  connected = state === "live";
  $("link").dataset.state = state;
  $("link").querySelector("span").textContent = text;
}

function banner(text) {
  $("banner").hidden = !text;
  $("banner").textContent = text ?? "";
}

/** What every view shows: the cameras to choose from, and how many frames are parked. */
async function common() {
  const [sum, list] = await Promise.all([api.summary(), api.cameras()]);
  setCameras(list.map((each) => each.camera));
  offer(list.map((each) => each.camera));
  $("parked-count").hidden = sum.failed === 0;
  $("parked-count").textContent = count(sum.failed);
  const was = empty;
  empty = sum.frames === 0;
  $("empty").hidden = !empty;
  if (was !== empty) show();
  return { sum, list };
}

function offer(names) {
  const shown = [...$("camera").options].slice(1).map((option) => option.value);
  const wanted = [...new Set([...names, ...(camera ? [camera] : [])])].sort(byName);
  if (shown.join("\n") === wanted.join("\n")) return;
  $("camera").replaceChildren(
    h("option", { value: "" }, "All cameras"),
    ...wanted.map((name) => h("option", { value: name, selected: name === camera }, name)));
}

function show() {
  for (const name of Object.keys(VIEWS)) $(name).hidden = empty || name !== view;
  for (const item of document.querySelectorAll(".views a")) {
    if (item.dataset.view === view) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
}

/** What is in the window is drawn. */
function drawn() {
  $("main").removeAttribute("aria-busy");
}

async function load() {
  const wanted = view;
  const mine = (missed = []);
  try {
    const all = common();
    await Promise.all([all, VIEWS[wanted].load(camera, all, drawn)]);
    banner(null);
    link("live", "Live");
  } catch (error) {
    banner(`The service could not be read and is asked again: ${error.message}`);
    setTimeout(load, 5000);
  }
  if (missed === mine) {
    missed = null;
    mine.forEach(pass);
  }
  drawn();
}

const refreshSoon = throttled(1000, async () => {
  try {
    const all = common();
    await Promise.all([all, VIEWS[view].refresh(camera, all)]);
  } catch {
    // The stream tells when the service is gone.
  }
});

function choose(name) {
  camera = name || null;
  if ($("camera").value !== (name ?? "")) $("camera").value = name ?? "";
  load();
}

/** The view that the address names; a frame is shown over the view that was there. */
function route() {
  const name = location.hash.match(/^#\/(\w+)$/)?.[1];
  const over = location.hash.startsWith("#/frame/") && view !== null;
  const wanted = name in VIEWS ? name : over ? view : "fleet";
  if (wanted === view) return;
  view = wanted;
  document.title = view === "fleet" ? "Patchwire" : `${view[0].toUpperCase()}${view.slice(1)} – Patchwire`;
  show();
  scrollTo(0, 0);
  if (connected) load();
}

/** Passes a change to the view; one that is being read may not have it in its answer, and gets it afterwards. */
function pass(frame) {
  if (missed) missed.push(frame);
  else if (camera === null || frame.camera === camera) VIEWS[view].changed(frame);
}

function changed(frame) {
  refreshSoon();
  viewer.changed(frame);
  pass(frame);
}

function lost() {
  link("lost", "Reconnecting");
  banner("The connection to the service is lost. This page shows what it knew and is trying again.");
}

$("camera").addEventListener("change", () => choose($("camera").value));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});
addEventListener("hashchange", route);
addEventListener("scroll", () => document.querySelector(".bar").classList.toggle("over", scrollY > 0), { passive: true });
fleet.init((name) => choose(name === camera ? null : name));
quality.init();
labels.init();
parked.init();
viewer.init(wall.neighbour);
route();
api.follow({ ready: load, frame: changed, lost });
// Times such as "12 s ago" and what counts as live go on changing when nothing arrives.
setInterval(() => { if (connected) refreshSoon(); }, 5000);
