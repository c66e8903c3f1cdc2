// The service's stream of events.

/**
 * Follows the stream until the page closes. Calls `ready` whenever no change is missed from then on, `frame` with the
 * JSON of each changed record, and `lost` when the connection broke and is being opened again, with true if it was
 * refused. Returns a function that opens a refused connection again at once.
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
      // The browser itself tries again only when the connection broke, not when it was refused.
      const refused = source.readyState === EventSource.CLOSED;
      if (refused) waiting = setTimeout(open, 3000);
      lost(refused);
    });
  }
  open();
  return () => { if (waiting !== null) open(); };
}
