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

export const css = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
