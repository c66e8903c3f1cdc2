// Runs as a shared worker: one stream for all tabs of a browser. Over HTTP/1.1 a browser opens six connections per
// host, so with one stream per tab the seventh tab would wait for ever.

import { listen } from "./stream.js";

const tabs = new Set(); // their ports
let last = null; // "ready" or "lost", whichever came last

function tell(message) {
  for (const tab of tabs) tab.postMessage(message);
}

const again = listen({
  ready() {
    last = "ready";
    tell({ ready: true });
  },
  lost(refused) {
    last = "lost";
    tell({ lost: true, refused });
  },
  frame: (frame) => tell({ frame }),
});

addEventListener("connect", ({ ports: [tab] }) => {
  tab.onmessage = ({ data }) => {
    if (data === "leave") return tabs.delete(tab);
    tabs.add(tab);
    if (last) tab.postMessage({ [last]: true }); // Nothing is missed from here on.
    again();
  };
});
