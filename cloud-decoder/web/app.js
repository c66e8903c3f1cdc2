// Starts the page: shows the view that the address names, then follows the stream of changes.

import * as api from "./lib/api.js";
import { $, byName, count, h, prepare, setCameras, throttled } from "./lib/dom.js";
import { framed, NAMES, named, need } from "./views.js";

let view = null; // name of the shown view
let shown = null; // its module, once it is loaded
let viewer = null; // the module of the viewer, once a frame is to be shown
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

let known = 0; // cameras whose names were read

/** Updates the parts that all views share: the list of cameras, and the number of parked frames. */
async function common() {
  const sum = await api.summary();
  if (sum.cameras !== known) {
    const names = await api.cameraNames();
    known = sum.cameras;
    setCameras(names);
    offer(names);
  }
  $("parked-count").hidden = sum.failed === 0;
  $("parked-count").textContent = count(sum.failed);
  const was = empty;
  empty = sum.frames === 0;
  $("empty").hidden = !empty;
  if (was !== empty) show();
  return { sum };
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
  for (const name of NAMES) $(name).hidden = empty || name !== view;
  for (const item of document.querySelectorAll(".views a")) {
    if (item.dataset.view === view) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
}

/** Marks the visible part of the page as drawn. */
function drawn() {
  $("main").removeAttribute("aria-busy");
}

const begun = new Set(); // modules whose init was called

/** A view's module, ready to be used. */
async function open(name) {
  const module = await need(name);
  if (!begun.has(module)) {
    begun.add(module);
    module.init(pick);
  }
  if (name === view) shown = module;
  return module;
}

async function load() {
  const wanted = view;
  const first = !connected;
  const mine = (missed = []);
  try {
    const all = common();
    all.catch(() => {}); // Reported below.
    const opened = await open(wanted);
    setTimeout(prepare); // After all requests are sent.
    await Promise.all([all, opened.load(camera, all, drawn)]);
    banner(null);
    link("live", "Live");
  } catch (error) {
    banner(`The service could not be read. Trying again: ${error.message}`);
    setTimeout(load, 5000);
  }
  if (missed === mine) {
    missed = null;
    mine.forEach(pass);
  }
  drawn();
  rest();
  // Another view was chosen while the first one was loading.
  if (first && connected && view !== wanted) load();
}

/** The other views are loaded a little later, so that they open at once. */
let rest = () => {
  rest = () => {};
  setTimeout(() => [...NAMES, "viewer"].forEach((name) => need(name).catch(() => {})), 3000);
};

const refreshSoon = throttled(1000, async () => {
  try {
    const all = common();
    await Promise.all([all, shown?.refresh(camera, all)]);
  } catch {
    // The stream reports when the service is gone.
  }
});

function choose(name) {
  camera = name || null;
  if ($("camera").value !== (name ?? "")) $("camera").value = name ?? "";
  load();
}

const pick = (name) => choose(name === camera ? null : name);

/** The view that the address names; a frame is shown over the view that was there. */
function route() {
  look();
  const wanted = named() ?? (framed() ? view : null) ?? "fleet";
  if (wanted === view) return;
  view = wanted;
  shown = null;
  document.title = view === "fleet" ? "Patchwire" : `${view[0].toUpperCase()}${view.slice(1)} – Patchwire`;
  show();
  scrollTo(0, 0);
  if (connected) load();
}

/** The frame that the address names, over the view. */
async function look() {
  if (!framed() && !viewer) return;
  try {
    viewer = await open("viewer");
    await viewer.route();
  } catch (error) {
    banner(error.message);
  }
}

/** Passes a change to the view, or keeps it until the view is read: the answer under way may lack the change. */
function pass(frame) {
  if (missed) missed.push(frame);
  else if (camera === null || frame.camera === camera) shown?.changed(frame);
}

function changed(frame) {
  refreshSoon();
  viewer?.changed(frame);
  pass(frame);
}

function lost() {
  link("lost", "Reconnecting");
  banner("The connection to the service is lost. This page shows the last known state and is trying again.");
}

$("camera").addEventListener("change", () => choose($("camera").value));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});
addEventListener("hashchange", route);
addEventListener("scroll", () => document.querySelector(".bar").classList.toggle("over", scrollY > 0), { passive: true });
route();
api.follow({ ready: load, frame: changed, lost });
// Times such as "12 s ago" and the states of cameras change also when no frame arrives.
setInterval(() => { if (connected) refreshSoon(); }, 5000);
