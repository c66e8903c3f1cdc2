// The service's stream of events.

/**
 * Follows it for good: `ready` whenever nothing is missed from then on, `frame` with the JSON of each changed record, `lost` when the
 * connection broke and is being made again, with true if it was refused. Returns what makes a refused one again at once.
 */
export function listen({ ready, frame, lost }) {
  let waiting = null;
  function open() {
    clearTimeout(waiting);
    waiting = null;
    const source = new EventSource(new URL("../api/v1/events", import.meta.url));
    for (const name of ["ready", "reload"]) source.addEventListener(name, ready);
    source.addEventListener("frame", (event) => frame(event.data));
    source.addEventListener("error", () => {
      // The browser only tries again by itself when the connection broke, not when it was refused.
      const refused = source.readyState === EventSource.CLOSED;
      if (refused) waiting = setTimeout(open, 3000);
      lost(refused);
    });
  }
  open();
  return () => { if (waiting !== null) open(); };
}
