// Loads the files of a view when it is first shown. The files of the view that the address names are loaded while the
// page itself loads.

import "./lib/api.js"; // Follows changes at once too.
import NEEDS from "./needs.js"; // Made by the service from the imports of the views.

export const NAMES = ["fleet", "quality", "labels", "parked"];

const loading = new Map(); // file -> what it becomes

function element(tag, attributes) {
  return new Promise((loaded, failed) => {
    const made = Object.assign(document.createElement(tag), attributes, { onload: loaded });
    made.onerror = () => {
      made.remove();
      failed(new Error(`${attributes.href ?? attributes.src} could not be loaded`));
    };
    document.head.append(made);
  });
}

function file(name) {
  if (name.endsWith(".css")) return element("link", { rel: "stylesheet", href: name });
  if (name.startsWith("vendor/")) return element("script", { src: name });
  return import(`./${name}`);
}

/** Loads a file, unless it is loaded already. A load that failed is repeated. */
function once(name) {
  if (!loading.has(name)) loading.set(name, file(name).catch((error) => {
    loading.delete(name);
    throw error;
  }));
  return loading.get(name);
}

/** Loads uPlot. It is larger than all other files, and is only awaited when there is something to plot. */
export const library = () => Promise.all(["vendor/uPlot.min.css", "vendor/uPlot.iife.min.js"].map(once));

/** A view's module, once it can be used. */
export async function need(view) {
  const files = NEEDS[view].map(once);
  if (NEEDS[view].includes("lib/plot.js")) library().catch(() => {});
  return (await Promise.all(files))[0];
}

/** The view that the address names, or null; a frame is shown over a view. */
export const named = () => NAMES.find((name) => location.hash === `#/${name}`) ?? null;
export const framed = () => location.hash.startsWith("#/frame/");

need(named() ?? "fleet").catch(() => {}); // Whoever needs it tries again and tells.
