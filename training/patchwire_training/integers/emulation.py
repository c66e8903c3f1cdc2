"""The decoder in integers on PyTorch's fast convolutions, the same as :mod:`.model` bit for bit.

Convolutions compute in floating point, in which their sums are exact: in f32 below 2^24, else in f64.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .bounds import half
from .full import tiled, unshuffled
from .model import GRAY_BITS, File


def tensor(file: File, name: str) -> Tensor:
    """A tensor in 32 bits."""
    return torch.from_numpy(file.tensors[name].astype(np.int32))


def scaled(values: Tensor, multiplier: Tensor | int) -> Tensor:
    """R of the specification."""
    return (values * multiplier + (1 << 14)) >> 15


def saturated(values: Tensor) -> Tensor:
    """sat16 of the specification."""
    return values.clamp(-(1 << 15), (1 << 15) - 1)


def read_bytes(file: File, name: str, values: Tensor) -> Tensor:
    """How a layer reads maps, less its zero."""
    scale, zero, _ = file.tensors[f"{name}.reading"].tolist()
    return (scaled(values, scale) + zero).clamp(0, 255) - zero


def sums(file: File, name: str, values: Tensor) -> Tensor:
    """acc of a convolution layer, [n, out, h, w], i32."""
    weight = tensor(file, f"{name}.weight")
    zero = int(file.tensors[f"{name}.reading"][1])
    most = int(weight.abs().sum((1, 2, 3)).max()) * max(zero, 255 - zero)
    exact = torch.float32 if most < 1 << 24 else torch.float64
    acc = F.conv2d(read_bytes(file, name, values).to(exact), weight.to(exact), padding=weight.shape[-1] // 2)
    return acc.to(torch.int32) + tensor(file, f"{name}.bias")[:, None, None]


def convolution(file: File, name: str, values: Tensor) -> Tensor:
    """y of a convolution layer, [n, out, h, w]."""
    shift = int(file.tensors[f"{name}.reading"][2])
    t = saturated((sums(file, name, values) + half(shift)) >> shift)
    return scaled(t, tensor(file, f"{name}.multiplier")[:, None, None])


def hidden(file: File, name: str, latents: Tensor) -> Tensor:
    """h of latents [n, bits, rows, columns] of -1, 0 and 1: [n, rows, columns, hidden]."""
    weight = tensor(file, f"{name}.hidden.weight").float()
    s = F.linear(latents.permute(0, 2, 3, 1).float(), weight).to(torch.int32) + tensor(file, f"{name}.hidden.bias")
    return scaled(s, tensor(file, f"{name}.hidden.multiplier")).clamp_min(0)


def synthesis(file: File, latents: Tensor) -> Tensor:
    """The first stage's maps."""
    stage = file.stages[0]
    name, shift = stage["name"], int(file.tensors[f"{stage['name']}.shift"][0])
    acc = F.linear(hidden(file, name, latents).double(), tensor(file, f"{name}.weight").double()).to(torch.int32)
    t = saturated((acc + tensor(file, f"{name}.bias") + half(shift)) >> shift)
    return tiled(scaled(t, tensor(file, f"{name}.multiplier")), stage)


def run_stage(file: File, stage: dict, values: Tensor, base: Tensor | None) -> Tensor:
    """The maps after a stage that is not the first; `base` are the frames that `join` sees, [n, 3, h, w]."""
    name = stage.get("name")
    match stage["kind"]:
        case "conv":
            y = convolution(file, name, values)
            return y.clamp_min(0) if stage["relu"] else y
        case "residual":
            inner = convolution(file, f"{name}.conv1", values).clamp_min(0)
            return saturated(values + convolution(file, f"{name}.conv2", inner))
        case "join":
            return saturated(values + convolution(file, name, unshuffled(base, values)))
        case "pixel_shuffle":
            return F.pixel_shuffle(values, stage["factor"])
        case kind:
            raise ValueError(f"stage of unknown kind {kind!r}")


def decode(file: File, latents: Tensor) -> Tensor:
    """Frames [n, 3, 32 * rows, 32 * columns] u8 of latents [n, bits, rows, columns] of -1, 0 and 1."""
    values = synthesis(file, latents)
    base = F.pixel_shuffle(values, file.base["factor"]) if file.base else None
    for stage in file.stages[1:]:
        values = run_stage(file, stage, values, base)
    if base is not None:
        values = saturated(values + base)
    return ((values + (1 << GRAY_BITS - 1)) >> GRAY_BITS).clamp(0, 255).to(torch.uint8)
