// The service's HTTP API and its stream of events.

async function get(path, method = "GET") {
  const response = await fetch(`/api/v1/${path}`, { method });
  if (response.status === 401) location.assign("/login.html");
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
}

const query = (parameters) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(given).toString();
};
const one = (id) => `frames/${encodeURIComponent(id)}`;

export const summary = () => get("summary");
export const cameras = (parameters) => get(`cameras?${query(parameters)}`);
export const cameraNames = async () => (await get("cameras/names")).names;
export const alarms = (parameters) => get(`alarms?${query(parameters)}`);
export const acknowledge = (id) => get(`alarms/${id}/acknowledge`, "POST");
export const traffic = async (parameters) => (await get(`traffic?${query(parameters)}`)).lines;
export const nodes = async () => (await get("nodes")).nodes;
export const drift = async (camera) => (await get(`drift?${query({ camera })}`)).cameras;
export const frames = (parameters) => get(`frames?${query(parameters)}`);
export const labels = (parameters) => get(`labels?${query(parameters)}`);
export const history = (parameters) => get(`history?${query(parameters)}`);
export const frame = (id) => get(one(id));
export const patches = (id) => get(`${one(id)}/patches`);
export const retry = (id) => get(`${one(id)}/retry`, "POST");

/** The original as JPEG of the latents' size: its address, bytes, and how good it is. */
export async function sameSize(id) {
  const source = `/api/v1/${one(id)}/same-size.jpg`;
  const response = await fetch(source);
  if (!response.ok) throw new Error((await response.json()).error);
  const number = (name) => (response.headers.get(name) ? Number(response.headers.get(name)) : null);
  const { size } = await response.blob();
  return {
    source, bytes: size, quality: number("x-jpeg-quality"),
    psnr_db: number("x-psnr-db"), ssim: number("x-ssim"), ms_ssim: number("x-ms-ssim"),
  };
}

let last = null; // "ready" or "lost", whichever was heard last before anyone followed
let tell = { ready: () => { last = "ready"; }, lost: () => { last = "lost"; }, frame: () => {} };

function stream() {
  const source = new EventSource("/api/v1/events");
  for (const name of ["ready", "reload"]) source.addEventListener(name, () => tell.ready());
  source.addEventListener("frame", (event) => tell.frame(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    tell.lost();
    // The browser only tries again by itself when the connection broke, not when it was refused.
    if (source.readyState === EventSource.CLOSED) {
      summary().catch(() => {}); // Refused for want of a login, it goes there.
      setTimeout(stream, 3000);
    }
  });
}
// At once, while most modules are still loaded.
stream();

/**
 * Follows changes. `ready` is called whenever nothing is missed from then on, `frame` with each
 * changed record, `lost` when the connection broke and is being made again.
 */
export function follow(told) {
  tell = told;
  // Frames that changed before are no loss: whoever hears `ready` reads them now.
  if (last) told[last]();
}
