// Two pictures of one size over each other, and a slider between them, for pointer and keyboard.

import { h } from "./dom.js";

/** `left` and `right` are `{ source, name }`. */
export function comparison(frame, left, right) {
  const box = h("div", { class: "slider" },
    h("img", { src: right.source, alt: right.name, draggable: "false" }),
    h("img", { class: "over", src: left.source, alt: left.name, draggable: "false" }),
    h("span", { class: "tag left" }, left.name),
    h("span", { class: "tag right" }, right.name),
    h("span", { class: "handle", "aria-hidden": "true" }, h("i")),
    h("input", { type: "range", min: 0, max: 100, step: 2, value: 50, "aria-label": `Share of the ${left.name} that is shown` }));
  box.style.setProperty("--ratio", frame.width / frame.height);
  const input = box.querySelector("input");
  const place = (percent) => box.style.setProperty("--at", `${percent}%`);
  const follow = (event) => {
    const { left: start, width } = box.getBoundingClientRect();
    const at = Math.min(100, Math.max(0, ((event.clientX - start) / width) * 100));
    input.value = at;
    place(at);
  };
  input.addEventListener("input", () => place(input.value));
  box.addEventListener("pointerdown", (event) => {
    box.setPointerCapture(event.pointerId);
    follow(event);
    input.focus({ preventScroll: true });
    event.preventDefault();
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) follow(event);
  });
  return box;
}
