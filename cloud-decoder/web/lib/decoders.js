// The decoders that the service has loaded.

import * as api from "./api.js";

let loaded = new Set(); // ids

/** Whether a decoder is loaded, as far as `know` has asked. */
export const isLoaded = (id) => loaded.has(id);

/** Asks which decoders are loaded, unless this one is known to be. */
export async function know(id) {
  if (id === null || loaded.has(id)) return;
  const { decoders } = await api.summary();
  loaded = new Set(decoders.map((each) => each.id));
}
