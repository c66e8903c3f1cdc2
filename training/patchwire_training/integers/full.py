"""A decoder in full precision, run as its file describes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

from .bounds import convolutions
from .model import File

FORMAT = "patchwire-decoder-1"


@dataclass
class Full:
    """The program's id in hex, the stages, the base or None, and the weights by name, f32."""

    program: str
    stages: list[dict]
    base: dict | None
    tensors: dict[str, Tensor]

    @staticmethod
    def read(path: Path) -> Full:
        """The file at `path`; ValueError where it is of another format."""
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: its format is {metadata.get('format')!r}, allowed is {FORMAT!r}")
            layout = json.loads(metadata["stages"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
        return Full(metadata["program"], layout["stages"], layout.get("base"), tensors)

    @staticmethod
    def of(file: File) -> Full:
        """The network that a decoder in integers approximates, whose frames are in the units of its last map."""
        tensors = {}
        real = lambda name: torch.from_numpy(file.tensors[name].astype(np.float64))

        def add(name: str, weight: Tensor, bias: Tensor, by: Tensor) -> None:
            tensors[f"{name}.weight"] = (weight * by.view(-1, *[1] * (weight.ndim - 1))).float()
            tensors[f"{name}.bias"] = (bias * by).float()

        name = file.stages[0]["name"]
        hidden = f"{name}.hidden"
        add(hidden, real(f"{hidden}.weight"), real(f"{hidden}.bias"), real(f"{hidden}.multiplier") / 2**15)
        by = real(f"{name}.multiplier") / 2.0 ** (15 + int(file.tensors[f"{name}.shift"][0]))
        add(name, real(f"{name}.weight"), real(f"{name}.bias"), by)
        for name in convolutions(file.stages):
            scale, _, shift = file.tensors[f"{name}.reading"].tolist()
            by = real(f"{name}.multiplier") / 2.0 ** (15 + shift)
            add(name, real(f"{name}.weight") * scale / 2**15, real(f"{name}.bias"), by)
        return Full(file.program, file.stages, file.base, tensors)

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias."""
        return self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]

    def convolve(self, name: str, values: Tensor) -> Tensor:
        """The convolution `name` of maps [n, in, h, w]."""
        weight, bias = self.layer(name)
        return F.conv2d(values, weight, bias, padding=weight.shape[-1] // 2)

    def hidden(self, latents: Tensor) -> Tensor:
        """The hidden units [n, rows, columns, hidden] of latents [n, bits, rows, columns] of -1, 0 and 1."""
        weight, bias = self.layer(f"{self.stages[0]['name']}.hidden")
        return F.relu(F.linear(latents.permute(0, 2, 3, 1), weight, bias))

    def synthesize(self, latents: Tensor) -> Tensor:
        """The first stage's map [n, channels, rows * grid, columns * grid]."""
        values = F.linear(self.hidden(latents), *self.layer(self.stages[0]["name"]))
        return tiled(values, self.stages[0])

    def run_stage(self, stage: dict, values: Tensor, base: Tensor | None) -> Tensor:
        """The maps after a stage that is not the first; `base` are the frames that `join` sees, [n, 3, h, w]."""
        name = stage.get("name")
        match stage["kind"]:
            case "conv":
                y = self.convolve(name, values)
                return F.relu(y) if stage["relu"] else y
            case "residual":
                return values + self.convolve(f"{name}.conv2", F.relu(self.convolve(f"{name}.conv1", values)))
            case "join":
                return values + self.convolve(name, unshuffled(base, values))
            case "pixel_shuffle":
                return F.pixel_shuffle(values, stage["factor"])
            case kind:
                raise ValueError(f"stage of unknown kind {kind!r}")

    def maps(self, latents: Tensor) -> Iterator[Tensor]:
        """The maps after each stage."""
        values = self.synthesize(latents)
        base = F.pixel_shuffle(values, self.base["factor"]) if self.base else None
        yield values
        for stage in self.stages[1:]:
            values = self.run_stage(stage, values, base)
            yield values

    def decode(self, latents: Tensor) -> Tensor:
        """RGB [n, 3, h, w], nominally 0 to 1."""
        first, *_, last = self.maps(latents)
        return last + F.pixel_shuffle(first, self.base["factor"]) if self.base else last


def tiled(values: Tensor, stage: dict) -> Tensor:
    """What `patch_linear` gives patches, [n, rows, columns, grid * grid * channels], as a map of the frame."""
    n, rows, columns, _ = values.shape
    grid, channels = stage["grid"], stage["channels"]
    maps = values.reshape(n, rows, columns, grid, grid, channels).permute(0, 5, 1, 3, 2, 4)
    return maps.reshape(n, channels, rows * grid, columns * grid)


def unshuffled(base: Tensor, values: Tensor) -> Tensor:
    """Frames at the resolution of `values`, as `join` reads them."""
    return F.pixel_unshuffle(base, base.shape[-1] // values.shape[-1])
