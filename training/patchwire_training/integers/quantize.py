"""A decoder in integers from one in full precision, with ranges of the maps that it makes of given latents.

Layer by layer, both decoders run on the same latents: a layer in integers is fitted to its input in integers, and its
bias corrects the mean error of its output.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import emulation
from .balance import sensitivities, weighed
from .bounds import check
from .full import Full, unshuffled
from .layers import LARGEST, TALLEST, as_integers, fit_reading, fit_shift, fit_weights, moments
from .model import GRAY_BITS, File

GRAY = 1 / (255 << GRAY_BITS)
"""Step of the frame's map."""
HEADROOM = 4
"""Largest value of a map in 16 bits over the largest one seen."""
SUM_HEADROOM = 1.5
"""The same of sums before their multiplier."""
SUM_LIMIT = 2**24
"""Of a sum that has been seen."""
BYTE_TALLEST = 16383
"""Largest multiplier of a layer whose output is a byte: its sums keep some more bits than that until they are scaled."""


@torch.no_grad()
def quantize(full: Full, latents: Tensor) -> File:
    """The decoder in integers; latents [n, bits, rows, columns] of -1, 0 and 1 are those of pictures to be expected."""
    file = File(full.program, full.stages, full.base, {})
    counts = input_counts(full, latents)
    real = list(full.maps(latents))
    steps = map_steps(full, real, counts)
    quantize_synthesis(full, file, latents, steps[0])
    values = emulation.synthesis(file, latents)
    bases = [F.pixel_shuffle(maps, full.base["factor"]) for maps in (real[0], values)] if full.base else [None, None]
    for i, stage in enumerate(full.stages[1:], 1):
        name, before, after = stage.get("name"), steps[i - 1], steps[i]
        wide = Layer(full, file, counts, after, relu=stage.get("relu", False))
        if stage["kind"] == "conv":
            wide.make(name, real[i - 1], values, before)
        elif stage["kind"] == "join":
            wide.make(name, *(unshuffled(base, values) for base in bases), steps[0])
        elif stage["kind"] == "residual":
            inner = F.relu(full.convolve(f"{name}.conv1", real[i - 1]))
            step = byte_step(inner, counts[f"{name}.conv2"])
            Layer(full, file, counts, step, relu=True, bytes_out=True).make(f"{name}.conv1", real[i - 1], values, before)
            made = emulation.convolution(file, f"{name}.conv1", values).clamp_min(0)
            wide.make(f"{name}.conv2", inner, made, step, identity=True)
        values = emulation.run_stage(file, stage, values, bases[1])
    check(file)
    return file


def input_counts(full: Full, latents: Tensor) -> dict[str, Tensor]:
    """How much an error of each input of a convolution counts in the frame."""
    with torch.enable_grad():
        outputs = sensitivities(full, latents)
    return {name: weighed(full.tensors[f"{name}.weight"], count).diagonal() for name, count in outputs.items()}


def map_steps(full: Full, real: list[Tensor], counts: dict[str, Tensor]) -> list[float]:
    """The step of the map after each stage: one for maps that are joined by additions, that of the frame for the last.

    ``real`` are the maps in full precision.
    """
    starts = [i for i, stage in enumerate(full.stages) if stage["kind"] in ("patch_linear", "conv")]
    steps = []
    for first, end in zip(starts, [*starts[1:], len(full.stages)]):
        step = HEADROOM * max(maps.abs().max().item() for maps in real[first:end]) / TALLEST
        if end == len(full.stages) or (first == 0 and full.base):
            step = GRAY
        elif first:
            # A multiplier only makes smaller: a step is no less than what 1 of a sum stands for.
            name = full.stages[first]["name"]
            largest = full.tensors[f"{name}.weight"].abs().max().item()
            step = max(step, byte_step(real[first - 1], counts[name]) * largest / LARGEST)
        steps += [step] * (end - first)
    return steps


def byte_step(values: Tensor, count: Tensor) -> float:
    """The step at which maps lose least in bytes."""
    fine = values.abs().max().item() / TALLEST
    scale, _ = fit_reading((values / fine).round(), count)
    return fine * 32768 / scale


class Layer:
    """Makes the tensors of a convolution layer whose output has the step `step`, in 16 bits or, after a relu, in bytes."""

    def __init__(
        self,
        full: Full,
        file: File,
        counts: dict[str, Tensor],
        step: float,
        relu: bool = False,
        bytes_out: bool = False,
    ):
        self.full, self.file, self.counts = full, file, counts
        self.step, self.relu, self.bytes_out = step, relu, bytes_out

    def make(self, name: str, real: Tensor, values: Tensor, before: float, identity: bool = False) -> None:
        """The layer `name`, of its input in full precision and in integers, whose step is `before`.

        With `identity` the input is read as it is.
        """
        weight, bias = self.full.layer(name)
        target = self.full.convolve(name, real)
        scale, zero = (TALLEST, 0) if identity else fit_reading(values, self.counts[name])
        before *= 1 if identity else 32768 / scale
        tensors = self.file.tensors
        tensors[f"{name}.reading"] = np.array([scale, zero, 0], np.int32)
        covariance = moments(emulation.read_bytes(self.file, name, values), weight.shape[-1])
        # A multiplier only makes smaller.
        most = self.step / before * 0.9999
        largest = target.abs().amax((0, 2, 3))
        # Where all weights are 0, the bias is still to fit.
        floor = torch.maximum(largest / SUM_LIMIT, torch.tensor(self.step / SUM_LIMIT)) / before
        unit = torch.maximum(weight.abs().amax((1, 2, 3)) / LARGEST, floor).clamp_max(most)
        shift = fit_shift(unit * before, self.step, BYTE_TALLEST if self.bytes_out else TALLEST)
        # Where weights are small, so are multipliers, and values before them large: these stay in 16 bits, too.
        needed = (target.amax((0, 2, 3)).clamp_min(0) if self.relu else largest) * SUM_HEADROOM / self.step
        needed = needed.clamp_max(255) if self.bytes_out else needed
        least = torch.maximum(needed * self.step / before / 2 ** (15 + shift), floor)
        integers, unit = fit_weights(weight, covariance, least, most)
        tensors[f"{name}.reading"][2] = shift
        tensors[f"{name}.weight"] = as_integers(integers, np.int8)
        multiplier = unit.double() * before / self.step * 2 ** (15 + shift)
        tensors[f"{name}.multiplier"] = as_integers(multiplier.clamp(0, TALLEST), np.int16)
        tensors[f"{name}.bias"] = as_integers(bias / (unit * before), np.int32)
        made = emulation.convolution(self.file, name, values).double() * self.step
        error = (target - made).mean((0, 2, 3)).float()
        tensors[f"{name}.bias"] = as_integers((bias + error) / (unit * before), np.int32)


def quantize_synthesis(full: Full, file: File, latents: Tensor, step: float) -> None:
    """The tensors of the patch synthesis, whose map has the step `step`."""
    name, tensors = full.stages[0]["name"], file.tensors
    weight, bias = (values.double() for values in full.layer(f"{name}.hidden"))
    outer, offset = (values.double() for values in full.layer(name))
    # Rounding may add 1/2 for each weight.
    room = TALLEST - weight.shape[1] / 2 - 1
    sum_step = ((weight.abs().sum(1) + bias.abs()) / room).clamp_min(1e-9)
    most = sum_step * TALLEST
    # So that no sum of 32 bits is too large.
    unit = (outer.abs() @ most + offset.abs()) / 2**30.9
    # Rounding of the hidden values and that of their weights bring about the same error.
    squares = full.hidden(latents).double().square().mean((0, 1, 2)).clamp_min(1e-12)
    value_step = (squares * unit.square().sum() / outer.square().sum(0).clamp_min(1e-12)).pow(0.25)
    value_step = torch.maximum(value_step, most / TALLEST)
    multiplier = (sum_step / value_step * 32768).round().clamp(1, TALLEST)
    value_step = sum_step * 32768 / multiplier
    tensors[f"{name}.hidden.weight"] = as_integers(weight / sum_step[:, None], np.int16)
    tensors[f"{name}.hidden.bias"] = as_integers(bias / sum_step, np.int16)
    tensors[f"{name}.hidden.multiplier"] = as_integers(multiplier, np.int16)
    value_step, unit = value_step.double(), torch.maximum(unit, (outer.abs() * value_step).amax(1) / TALLEST)
    shift = fit_shift(unit, step, TALLEST)
    seen = F.linear(full.hidden(latents), *full.layer(name)).abs().amax((0, 1, 2)).double()
    unit = torch.maximum(unit, SUM_HEADROOM * seen / TALLEST / 2**shift)
    tensors[f"{name}.weight"] = as_integers(outer * value_step / unit[:, None], np.int16)
    tensors[f"{name}.bias"] = as_integers(offset / unit, np.int32)
    tensors[f"{name}.multiplier"] = as_integers(unit / step * 2 ** (15 + shift), np.int16)
    tensors[f"{name}.shift"] = np.array([shift], np.int32)
