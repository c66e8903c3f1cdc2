// The service's HTTP API and its stream of events.

async function get(path, method = "GET") {
  const response = await fetch(`/api/v1/${path}`, { method });
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
}

const query = (parameters) => {
  const given = Object.entries(parameters).filter(([, value]) => value);
  return new URLSearchParams(given).toString();
};

export const summary = () => get("summary");
export const cameras = async () => (await get("cameras")).cameras;
export const frames = (camera, before, limit) => get(`frames?${query({ camera, before, limit })}`);
export const frame = (id) => get(`frames/${encodeURIComponent(id)}`);
export const retry = (id) => get(`frames/${encodeURIComponent(id)}/retry`, "POST");
export const series = async (metric) => (await get(`series?${query({ metric, limit: 200 })}`)).series;

/**
 * Follows changes. `ready` is called whenever nothing is missed from then on, `frame` with each
 * changed record, `lost` when the connection broke and is being made again.
 */
export function follow({ ready, frame, lost }) {
  const source = new EventSource("/api/v1/events");
  source.addEventListener("ready", ready);
  source.addEventListener("reload", ready);
  source.addEventListener("frame", (event) => frame(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    lost();
    // The browser only tries again by itself when the connection broke, not when it was refused.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(() => follow({ ready, frame, lost }), 3000);
    }
  });
}
