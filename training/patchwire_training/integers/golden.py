"""Random decoders and their frames for `purenet`, made by the NumPy model.

``python -m patchwire_training.integers.golden --out ../cloud-decoder/purenet/tests/golden``

`full.safetensors` has every kind of stage and every option, `plain.safetensors` none. `frames.safetensors` holds the
latents and the frame [height, width, 3] u8 of each case; that of prefixes of their own also how many bits each patch
has, u16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from . import model
from .bounds import check

GRAY = 1 << model.GRAY_BITS
"""Steps of a gray level in the last map."""
# Channels are no multiples of anything; the numbers of `reading` are zeros of layers.
FULL = {
    "stages": [
        {
            "kind": "patch_linear",
            "name": "synthesis",
            "bits": 24,
            "prefixes": [8, 16],
            "hidden": 9,
            "grid": 8,
            "channels": 48,
        },
        {"kind": "conv", "name": "head", "in": 48, "out": 19, "kernel": 3, "relu": True},
        {"kind": "residual", "name": "body8.0", "channels": 19, "kernel": 5},
        {"kind": "conv", "name": "up", "in": 19, "out": 84, "kernel": 1, "relu": True},
        {"kind": "pixel_shuffle", "factor": 2},
        {"kind": "join", "name": "join", "in": 12, "channels": 21, "kernel": 3},
        {"kind": "residual", "name": "body4.0", "channels": 21, "kernel": 3},
        {"kind": "conv", "name": "tail", "in": 21, "out": 12, "kernel": 5, "relu": False},
        {"kind": "pixel_shuffle", "factor": 2},
    ],
    "base": {"channels": 48, "factor": 4},
}
PLAIN = {
    "stages": [
        {"kind": "patch_linear", "name": "synthesis", "bits": 16, "hidden": 5, "grid": 4, "channels": 8},
        {"kind": "conv", "name": "tail", "in": 8, "out": 192, "kernel": 1, "relu": False},
        {"kind": "pixel_shuffle", "factor": 8},
    ]
}
ZEROS = {"body8.0.conv1": 37, "body8.0.conv2": 0, "up": 255, "join": 131, "body4.0.conv1": 90, "body4.0.conv2": 1}
"""Of `reading`; of other layers 128."""


class Maker:
    """Draws a decoder's tensors layer by layer, with shifts and multipliers that fit a frame of random latents."""

    def __init__(self, layout: dict, seed: int):
        self.rng = np.random.default_rng(seed)
        self.file = model.File(bytes(range(32)).hex(), layout["stages"], layout.get("base"), {})

    def make(self) -> model.File:
        """The decoder."""
        first, *stages = self.file.stages
        patches = model.Patches(self.rng.integers(0, 2, (3, 3, first["bits"])), np.full((3, 3), first["bits"]))
        values = self.synthesis(first, patches)
        base = model.pixel_shuffle(values, self.file.base["factor"]) if self.file.base else None
        for stage in stages:
            name, last = stage.get("name"), stage is stages[-2]
            if stage["kind"] == "conv":
                mean, spread = (127 * GRAY, 60 * GRAY) if last else (0, 3000)
                self.layer(name, stage["out"], stage["kernel"], values, spread, mean)
            elif stage["kind"] == "join":
                frame = model.pixel_unshuffle(base, base.shape[2] // values.shape[2])
                self.layer(name, stage["channels"], stage["kernel"], frame, 6000)
            elif stage["kind"] == "residual":
                self.layer(f"{name}.conv1", stage["channels"], stage["kernel"], values, 90)
                inner = np.maximum(0, model.convolution(self.file, f"{name}.conv1", values))
                self.layer(f"{name}.conv2", stage["channels"], stage["kernel"], inner, 9000, identity=True)
            values = model.run_stage(self.file, stage, values, base)
        check(self.file)
        return self.file

    def multipliers(self, sums: np.ndarray, shift: int, spread: float) -> np.ndarray:
        """Of channels with these sums [channels, n], some much larger and smaller than those that give `spread`."""
        most = 32768 * spread / np.maximum(1, np.sqrt(np.square(model.shifted(sums, shift)).mean(1)))
        found = np.clip(most * self.rng.uniform(0.6, 1.6, len(most)), 1, 32767).astype(np.int16)
        found[2:4] = 0, 32767
        return found

    def synthesis(self, stage: dict, patches: model.Patches) -> np.ndarray:
        """Draws the patch synthesis and gives its map."""
        rng, name, bits, hidden = self.rng, stage["name"], stage["bits"], stage["hidden"]
        outputs = stage["grid"] ** 2 * stage["channels"]
        tensors = self.file.tensors
        weight = rng.integers(-900, 901, (hidden, bits))
        bias = rng.integers(-900, 901, hidden)
        # The first unit's sum may reach the largest value, that of the second the smallest.
        bias[:2] = 32767 - abs(weight[0]).sum(), abs(weight[1]).sum() - 32767
        tensors[f"{name}.hidden.weight"] = weight.astype(np.int16)
        tensors[f"{name}.hidden.bias"] = bias.astype(np.int16)
        multiplier = rng.integers(9000, 32768, hidden)
        multiplier[0] = 32767
        tensors[f"{name}.hidden.multiplier"] = multiplier.astype(np.int16)
        weight = rng.integers(-3000, 3001, (outputs, hidden))
        weight[:5] = rng.integers(-6000, 6001, (5, hidden))
        tensors[f"{name}.weight"] = weight.astype(np.int16)
        tensors[f"{name}.bias"] = rng.integers(-(10**7), 10**7, outputs).astype(np.int32)
        s = integers(bias) + patches.signs() @ integers(tensors[f"{name}.hidden.weight"]).T
        h = np.maximum(0, model.scaled(s, multiplier)).reshape(-1, hidden)
        sums = (h @ weight.T).T + integers(tensors[f"{name}.bias"])[:, None]
        shift = self.shift(sums, 9000)
        tensors[f"{name}.shift"] = np.array([shift], np.int32)
        tensors[f"{name}.multiplier"] = self.multipliers(sums, shift, 50 * GRAY)
        return model.synthesis(self.file, stage, patches)

    def layer(
        self,
        name: str,
        outputs: int,
        kernel: int,
        values: np.ndarray,
        spread: float,
        mean: float = 0,
        identity: bool = False,
    ) -> None:
        """Draws a convolution that reads `values`, with outputs of this spread and mean; `identity` reads as it is."""
        rng, tensors = self.rng, self.file.tensors
        weight = rng.integers(-64, 64, (outputs, len(values), kernel, kernel))
        weight[0], weight[1] = 63, -64
        scale = 32767 if identity else min(32767, round(32768 * 70 / values.std()))
        tensors[f"{name}.weight"] = weight.astype(np.int8)
        tensors[f"{name}.bias"] = np.zeros(outputs, np.int32)
        tensors[f"{name}.reading"] = np.array([scale, ZEROS.get(name, 128), 0], np.int32)
        sums = model.sums(self.file, name, values).reshape(outputs, -1)
        shift = self.shift(sums[2:], 2000 if mean else 9000)
        tensors[f"{name}.reading"][2] = shift
        multipliers = self.multipliers(sums - sums.mean(1, keepdims=True).astype(int), shift, spread)
        if mean:
            # Only some pixels are black or white.
            multipliers[3] = multipliers[4]
        bias = rng.normal(0, 0.5, outputs) * sums.std(1) - sums.mean(1)
        if mean:
            bias += mean * 32768 / np.maximum(multipliers, 256) * 2**shift
        elif outputs > 8:
            # Near the largest that is allowed.
            bias[5:7] = (2**31 - 2**30) * np.array([1, -1])
        tensors[f"{name}.bias"] = np.clip(np.round(bias), -(2**30), 2**30).astype(np.int32)
        tensors[f"{name}.multiplier"] = multipliers

    def shift(self, sums: np.ndarray, spread: float) -> int:
        """With which the sums have about this spread."""
        return max(0, int(np.ceil(np.log2(sums.std() / spread))))


def integers(values: np.ndarray) -> np.ndarray:
    """In 64 bits."""
    return values.astype(np.int64)


def cases(file: model.File, name: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Frames of a decoder: of two sizes, of a prefix for all patches, and of one for each."""
    bits, prefixes = file.stages[0]["bits"], file.stages[0].get("prefixes", [])
    found = {}

    def add(case: str, width: int, height: int, choose: list[int]) -> None:
        given = rng.choice(choose, (-(-height // model.PATCH), -(-width // model.PATCH)))
        latents = rng.integers(0, 256, given.sum() // 8, dtype=np.uint8)
        patches = model.Patches.unpack(latents.tobytes(), given, bits)
        found[f"{name}.{case}.latents"] = latents
        found[f"{name}.{case}.frame"] = np.ascontiguousarray(model.decode(file, patches, width, height))
        if len(choose) > 1:
            found[f"{name}.{case}.bits"] = given.astype(np.uint16)

    for width, height in [(96, 64), (70, 45)]:
        add(f"{width}x{height}", width, height, [bits])
    if prefixes:
        add("prefix", 70, 45, prefixes[:1])
        add("mixed", 96, 64, [*prefixes, bits])
    return found


def write(out: Path) -> None:
    """The three files."""
    frames = {}
    for name, layout, seed in [("full", FULL, 7), ("plain", PLAIN, 8)]:
        file = Maker(layout, seed).make()
        file.write(out / f"{name}.safetensors")
        frames |= cases(file, name, np.random.default_rng(seed))
    save_file(frames, out / "frames.safetensors")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
