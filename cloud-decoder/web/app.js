// Boots the page: reads what is there, then follows the stream of changes.

import * as api from "./api.js";
import { $, throttled } from "./dom.js";
import * as cameras from "./cameras.js";
import * as charts from "./charts.js";
import * as labels from "./labels.js";
import * as totals from "./totals.js";
import * as viewer from "./viewer.js";
import * as wall from "./wall.js";

let selected = null;
let connected = false;

function link(state, text) {
  connected = state === "live";
  $("link").dataset.state = state;
  $("link").querySelector("span").textContent = text;
}

function banner(text) {
  $("banner").hidden = !text;
  $("banner").textContent = text ?? "";
}

async function refreshNumbers() {
  const [sum, list] = await Promise.all([api.summary(), api.cameras()]);
  totals.show(sum);
  cameras.show(list, selected);
  const empty = sum.frames === 0;
  $("empty").hidden = !empty;
  $("totals").hidden = empty;
  $("content").hidden = empty;
  return list;
}

async function reload() {
  try {
    const list = await refreshNumbers();
    charts.setCameras(list.map((camera) => camera.camera));
    await Promise.all([wall.load(selected), labels.load(selected), charts.load(selected)]);
    banner(null);
    link("live", "Live");
  } catch (error) {
    banner(`The service could not be read and is asked again: ${error.message}`);
    setTimeout(reload, 5000);
  }
  $("main").removeAttribute("aria-busy");
}

const refreshSoon = throttled(1000, () => refreshNumbers().catch(() => {}));

function select(camera) {
  selected = camera === selected ? null : camera;
  $("all").hidden = selected === null;
  reload();
}

function changed(frame) {
  refreshSoon();
  viewer.changed(frame);
  charts.add(frame);
  if (selected === null || frame.camera === selected) {
    wall.add(frame);
    labels.add(frame);
  }
}

function lost() {
  link("lost", "Reconnecting");
  banner("The connection to the service is lost. This page shows what it knew and is trying again.");
}

cameras.init(select);
$("all").addEventListener("click", () => select(selected));
totals.skeleton();
wall.init();
viewer.init(wall.neighbour);
api.follow({ ready: reload, frame: changed, lost });
// Times such as "12 s ago" and what counts as live go on changing when nothing arrives.
setInterval(() => { if (connected) refreshSoon(); }, 15000);
