// Bytes on the uplink, by what they are and by how latents travelled.

import { bytes, count, h } from "./dom.js";

/** How latents travel, and the bytes of each way in a line of traffic. */
const LATENTS = [
  ["latents after a frame before", ({ reference_bytes }) => reference_bytes, "--line-0"],
  ["latents coded alone", ({ intra_bytes }) => intra_bytes, "--line-6"],
  ["latents not coded", (line) => line.latent_bytes - line.intra_bytes - line.reference_bytes, "--line-1"],
];

/** All kinds of bytes, in the order of the bar. */
const KINDS = [...LATENTS,
  ["originals", ({ original_bytes }) => original_bytes, "--line-3"],
  ["labels", ({ label_bytes }) => label_bytes, "--line-2"],
  ["overhead", ({ overhead_bytes }) => overhead_bytes, "--line-7"],
];

const sum = (line, kinds) => kinds.reduce((all, [, of]) => all + of(line), 0);

export const uplink = (line) => sum(line, KINDS);

/** The share of bytes that coding took off the latents. */
export const saved = ({ latent_bytes, saved_bytes }) => saved_bytes / (latent_bytes + saved_bytes);

function bar(line, kinds) {
  const all = sum(line, kinds);
  if (all === 0) return null;
  const told = kinds.map(([name, of]) => `${name} ${bytes(of(line))}`).join(", ");
  const parts = h("span", { class: "parts", role: "img", "aria-label": told });
  for (const [name, of, colour] of kinds) {
    if (of(line) === 0) continue;
    const part = h("i", { title: `${name}: ${bytes(of(line))}` });
    part.style.width = `${(of(line) / all) * 100}%`;
    part.style.background = `var(${colour})`;
    parts.append(part);
  }
  return parts;
}

/** The uplink's bytes by kind, as a bar. */
export const kinds = (line) => bar(line, KINDS);

/** The latents' bytes by the way they travelled, as a bar. */
export const ways = (line) => bar(line, LATENTS);

/** How a frame's latents travelled: a term and a value. */
export function travelled({ travelled: how, wire_bytes: wire, container_bytes: container }) {
  const ways = { plain: "Not coded", intra: "Coded alone", reference: "Coded against the camera's frame before" };
  const of = how === "plain" ? "" : ` in place of ${count(container)}`;
  return [ways[how], `${count(wire)} bytes${of}`];
}
