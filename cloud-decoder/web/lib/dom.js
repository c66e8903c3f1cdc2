// DOM, formatting and colour helpers. Text from the service only ever becomes text nodes.

export const $ = (id) => document.getElementById(id);

/** Makes an element: h("button", {class: "x", onclick: f}, "text", child, ...). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Replaces the children of an element. Equal children stay: they keep the focus and are not laid out again. */
export function renew(parent, wanted) {
  wanted.forEach((child, at) => {
    const old = parent.children[at];
    if (!old) parent.append(child);
    else if (!old.isEqualNode(child)) old.replaceWith(child);
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
}

/** Waits until changes are painted, for a bounded time, because a page in the background is not painted. */
export const painted = () => new Promise((done) => {
  requestAnimationFrame(() => setTimeout(done));
  setTimeout(done, 500);
});

/** Makes a value when it is first used. */
const late = (make) => {
  let made = null;
  return () => (made ??= make());
};

const order = late(() => new Intl.Collator("en", { numeric: true }));
/** Compares names as people sort them: camera-9 is before camera-10. */
export const byName = (a, b) => order().compare(a, b);

const number = (digits) => {
  const form = late(() => new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return (value) => form().format(value);
};
const [whole, one, two, three] = [0, 1, 2, 3].map(number);

/** The value, or an en dash when there is none. */
const or = (format) => (value) => (value === null || value === undefined ? "–" : format(value));

export const count = or(whole);
export const plural = (value, name) => `${count(value)} ${name}${value === 1 ? "" : "s"}`;
export const decibel = or(two);
export const similarity = or(three);
export const rate = or(two);
export const ratio = or(two);
export const percent = or((value) => `${one(value * 100)} %`);
export const millis = or((value) => {
  if (value < 1000) return `${one(value)} ms`;
  if (value < 60000) return `${two(value / 1000)} s`;
  const minutes = Math.floor(value / 60000);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
});

/** Like `millis`, for an axis whose ticks are round. */
export const roundMillis = (value) => (value < 1000 ? `${whole(value)} ms` : value < 60000 ? `${one(value / 1000)} s` : millis(value));

export const bytes = or((value) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${unit === 0 ? whole(value) : one(value)} ${units[unit]}`;
});

const when = (options) => {
  const form = late(() => new Intl.DateTimeFormat("en-GB", options));
  return (ms) => form().format(ms);
};
export const date = when({ day: "numeric", month: "short" });
export const time = when({ timeStyle: "medium" });
export const dateTime = when({ dateStyle: "medium", timeStyle: "medium" });

export function ago(ms) {
  const seconds = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** Calls at most once per interval; the last call is never dropped. */
export function throttled(interval, run) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => { timer = null; run(); }, interval);
  };
}

/** Makes the formatters and the collator while the page waits for answers. */
export function prepare() {
  byName("", "");
  count(0);
  time(0);
}

// A colour for each camera, program or label, the same in every view.
const COLOURS = 8;
const names = [];

/** Cameras in the order of their colours. */
export function setCameras(list) {
  for (const name of [...list].sort()) if (!names.includes(name)) names.push(name);
}

/** The CSS variable of a colour. */
export function colourOf(name) {
  if (!names.includes(name)) names.push(name);
  return `--line-${names.indexOf(name) % COLOURS}`;
}

const read = new Map(); // variable -> value
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => read.clear());

/** The value of a CSS variable. Reading it computes styles, so it is cached until the theme changes. */
export function css(variable) {
  if (!read.has(variable)) read.set(variable, getComputedStyle(document.documentElement).getPropertyValue(variable).trim());
  return read.get(variable);
}
