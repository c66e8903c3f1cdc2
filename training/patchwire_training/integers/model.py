"""An integer NumPy model of the decoder that reads `patchwire-decoder-2` files.

Written from the section "Decoder" of ``docs/formats.md`` alone, independent of the trainer and of the Rust decoder, so
that the three can be compared. Plain loops over kernel positions, int64, no floats; slow.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

FORMAT = "patchwire-decoder-2"
PATCH = 32
"""Pixels along a side of a patch."""
GRAY_BITS = 4
"""The frame's map is in 16ths of a gray level."""


@dataclass
class File:
    """A decoder's file: the program's id in hex, the stages, the base or None, and the tensors by name."""

    program: str
    stages: list[dict]
    base: dict | None
    tensors: dict[str, np.ndarray]

    @staticmethod
    def read(path: Path) -> File:
        """The file at `path`; ValueError where it is of another format."""
        with safe_open(str(path), "np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: its format is {metadata.get('format')!r}, allowed is {FORMAT!r}")
            layout = json.loads(metadata["stages"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        return File(metadata["program"], layout["stages"], layout.get("base"), tensors)

    def write(self, path: Path) -> None:
        """Write the file; the same decoder gives the same bytes, and so the same id."""
        layout = {"stages": self.stages} | ({"base": self.base} if self.base else {})
        metadata = {"format": FORMAT, "program": self.program, "stages": json.dumps(layout)}
        header, data = {"__metadata__": metadata}, b""
        # The widest first, so that each is aligned.
        for name, tensor in sorted(self.tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
            kind, end = f"I{8 * tensor.itemsize}", len(data) + tensor.nbytes
            header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": [len(data), end]}
            data += np.ascontiguousarray(tensor).tobytes()
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@dataclass
class Patches:
    """The latents of a frame: bits [rows, columns, bits], and how many of them each patch has, [rows, columns]."""

    bits: np.ndarray
    given: np.ndarray

    @staticmethod
    def unpack(latents: bytes, given: np.ndarray, bits: int) -> Patches:
        """From the patches' bytes, one after the other; the lowest bit of a byte is first."""
        unpacked = np.zeros((*given.shape, bits), np.int64)
        stream = np.unpackbits(np.frombuffer(latents, np.uint8), bitorder="little")
        at = 0
        for place in np.ndindex(given.shape):
            unpacked[place][: given[place]] = stream[at : at + given[place]]
            at += given[place]
        if at != len(stream):
            raise ValueError(f"the latents have {len(stream)} bits, the patches {at}")
        return Patches(unpacked, given)

    def signs(self) -> np.ndarray:
        """1 where a bit is set, -1 where it is not, 0 where it is not given."""
        return np.where(np.arange(self.bits.shape[-1]) < self.given[..., None], 2 * self.bits - 1, 0)


def scaled(values: np.ndarray, multiplier: np.ndarray) -> np.ndarray:
    """R of the specification: values times multiplier / 2^15, rounded half up."""
    return (values * multiplier + (1 << 14)) >> 15


def saturated(values: np.ndarray) -> np.ndarray:
    """sat16 of the specification."""
    return np.clip(values, -(1 << 15), (1 << 15) - 1)


def shifted(sums: np.ndarray, shift: int) -> np.ndarray:
    """t of the specification: sums divided by 2^shift, rounded half up, in 16 bits."""
    half = 1 << (shift - 1) if shift else 0
    return saturated((sums + half) >> shift)


def read_bytes(values: np.ndarray, scale: int, zero: int) -> np.ndarray:
    """How a layer reads its input map."""
    return np.clip(scaled(values, scale) + zero, 0, 255)


def integers(file: File, name: str) -> np.ndarray:
    """A tensor in 64 bits."""
    return file.tensors[name].astype(np.int64)


def sums(file: File, name: str, values: np.ndarray) -> np.ndarray:
    """acc of a convolution layer, [out, height, width], of a map [in, height, width]."""
    weight = integers(file, f"{name}.weight")
    scale, zero, _ = integers(file, f"{name}.reading")
    # Bytes beyond the border are `zero`, so that they count as 0.
    side = weight.shape[-1]
    pad = side // 2
    centered = np.pad(read_bytes(values, scale, zero) - zero, ((0, 0), (pad, pad), (pad, pad)))
    height, width = values.shape[1:]
    result = np.zeros((len(weight), height, width), np.int64) + integers(file, f"{name}.bias")[:, None, None]
    for dy in range(side):
        for dx in range(side):
            window = centered[:, dy : dy + height, dx : dx + width]
            result += np.tensordot(weight[:, :, dy, dx], window, axes=1)
    return result


def convolution(file: File, name: str, values: np.ndarray) -> np.ndarray:
    """y of a convolution layer, [out, height, width]."""
    shift = integers(file, f"{name}.reading")[2]
    return scaled(shifted(sums(file, name, values), shift), integers(file, f"{name}.multiplier")[:, None, None])


def synthesis(file: File, stage: dict, patches: Patches) -> np.ndarray:
    """The map that `patch_linear` makes of latents, [channels, rows * grid, columns * grid]."""
    name, grid, channels = stage["name"], stage["grid"], stage["channels"]
    s = integers(file, f"{name}.hidden.bias") + patches.signs() @ integers(file, f"{name}.hidden.weight").T
    h = np.maximum(0, scaled(s, integers(file, f"{name}.hidden.multiplier")))
    acc = integers(file, f"{name}.bias") + h @ integers(file, f"{name}.weight").T
    y = scaled(shifted(acc, integers(file, f"{name}.shift")[0]), integers(file, f"{name}.multiplier"))
    rows, columns = patches.given.shape
    maps = y.reshape(rows, columns, grid, grid, channels).transpose(4, 0, 2, 1, 3)
    return maps.reshape(channels, rows * grid, columns * grid)


def pixel_shuffle(values: np.ndarray, factor: int) -> np.ndarray:
    """[c * factor^2, h, w] to [c, h * factor, w * factor]."""
    channels, height, width = values.shape[0] // factor**2, *values.shape[1:]
    split = values.reshape(channels, factor, factor, height, width).transpose(0, 3, 1, 4, 2)
    return split.reshape(channels, height * factor, width * factor)


def pixel_unshuffle(values: np.ndarray, factor: int) -> np.ndarray:
    """[c, h * factor, w * factor] to [c * factor^2, h, w]."""
    channels, height, width = values.shape[0], values.shape[1] // factor, values.shape[2] // factor
    split = values.reshape(channels, height, factor, width, factor).transpose(0, 2, 4, 1, 3)
    return split.reshape(channels * factor**2, height, width)


def run_stage(file: File, stage: dict, values: np.ndarray, base: np.ndarray | None) -> np.ndarray:
    """The map after a stage that is not the first; `base` is the frame that `join` sees, [3, height, width]."""
    name = stage.get("name")
    match stage["kind"]:
        case "conv":
            y = convolution(file, name, values)
            return np.maximum(0, y) if stage["relu"] else y
        case "residual":
            inner = np.maximum(0, convolution(file, f"{name}.conv1", values))
            return saturated(values + convolution(file, f"{name}.conv2", inner))
        case "join":
            frame = pixel_unshuffle(base, base.shape[2] // values.shape[2])
            return saturated(values + convolution(file, name, frame))
        case "pixel_shuffle":
            return pixel_shuffle(values, stage["factor"])
        case kind:
            raise ValueError(f"stage of unknown kind {kind!r}")


def decode(file: File, patches: Patches, width: int, height: int) -> np.ndarray:
    """The frame [height, width, 3] u8 of the latents of its patches."""
    first, *stages = file.stages
    values = synthesis(file, first, patches)
    base = pixel_shuffle(values, file.base["factor"]) if file.base else None
    for stage in stages:
        values = run_stage(file, stage, values, base)
    if base is not None:
        values = saturated(values + base)
    pixels = np.clip((values + (1 << GRAY_BITS - 1)) >> GRAY_BITS, 0, 255).astype(np.uint8)
    return pixels.transpose(1, 2, 0)[:height, :width]
