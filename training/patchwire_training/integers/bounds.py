"""The bounds within which a decoder's sums stay in 32 bits, those of its hidden units in 16, for any latents."""

from __future__ import annotations

import numpy as np

from .model import File, integers, scaled


def convolutions(stages: list[dict]) -> list[str]:
    """The names of the convolution layers, in order."""
    found = []
    for stage in stages:
        if stage["kind"] in ("conv", "join"):
            found.append(stage["name"])
        elif stage["kind"] == "residual":
            found += [f"{stage['name']}.conv1", f"{stage['name']}.conv2"]
    return found


def half(shift: int) -> int:
    """By which a shift rounds half up."""
    return 1 << (int(shift) - 1) if shift else 0


def largest_hidden(file: File, name: str) -> tuple[np.ndarray, np.ndarray]:
    """For each hidden unit, the largest magnitude of its sum, and the largest value after its multiplier."""
    weight, bias = integers(file, f"{name}.hidden.weight"), integers(file, f"{name}.hidden.bias")
    most = abs(bias) + abs(weight).sum(1)
    return most, scaled(most, integers(file, f"{name}.hidden.multiplier"))


def check(file: File) -> None:
    """Raises ValueError, which names the layer, where a sum of the decoder may leave its bits."""

    def inside(name: str, most: np.ndarray, limit: int) -> None:
        if most.max() >= limit:
            raise ValueError(f"{name}: sums of channel {most.argmax()} reach {most.max()}, allowed is less than {limit}")

    def ranges(name: str, low: int, high: int) -> None:
        values = integers(file, name)
        if values.min() < low or values.max() > high:
            raise ValueError(f"{name}: values are {values.min()} to {values.max()}, allowed is {low} to {high}")

    name = file.stages[0]["name"]
    ranges(f"{name}.hidden.multiplier", 0, 32767)
    ranges(f"{name}.multiplier", 0, 32767)
    ranges(f"{name}.shift", 0, 31)
    sums, values = largest_hidden(file, name)
    inside(f"{name}.hidden", sums, 1 << 15)
    weight, bias = integers(file, f"{name}.weight"), integers(file, f"{name}.bias")
    most = abs(bias) + half(integers(file, f"{name}.shift")[0]) + abs(weight) @ values
    inside(name, most, 1 << 31)
    for name in convolutions(file.stages[1:]):
        ranges(f"{name}.weight", -64, 63)
        ranges(f"{name}.multiplier", 0, 32767)
        scale, zero, shift = (int(v) for v in integers(file, f"{name}.reading"))
        if not (0 <= scale <= 32767 and 0 <= zero <= 255 and 0 <= shift <= 31):
            raise ValueError(f"{name}.reading: {scale}, {zero}, {shift}, allowed is up to 32767, 255 and 31")
        weight, bias = integers(file, f"{name}.weight"), integers(file, f"{name}.bias")
        inside(name, abs(bias) + half(shift) + 255 * abs(weight).sum((1, 2, 3)), 1 << 31)
