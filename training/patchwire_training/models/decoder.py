"""The full-frame decoder: patch synthesis, then convolutions that see across patch borders.

The stages and tensor names are those of the decoder section of ``docs/formats.md``.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..models.network import Network

BITS = 256
PREFIXES = (64, 128, 192)
"""Bits of a patch that suffice for a coarser frame: the first ones, in the order of the latent."""
BLOCK, GRID = 8, 4
"""Pixels along a side of what one place of the synthesized map stands for, and such places along a side of a patch."""
BASE = 3 * BLOCK * BLOCK
"""Channels of the synthesized map."""
HIDDEN = {1: 960, 2: 1536}
"""Hidden units of the patch synthesis by a program's number of patch classes: its thresholds, and spare ones."""


class Residual(nn.Module):
    """x + conv2(relu(conv1(x)))."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


def conv_stage(name: str, inputs: int, outputs: int, kernel: int = 3, relu: bool = False) -> dict:
    """A convolution's description."""
    return {"kind": "conv", "name": name, "in": inputs, "out": outputs, "kernel": kernel, "relu": relu}


def synthesis_stage(hidden: int, grid: int, channels: int) -> dict:
    """The patch synthesis' description."""
    sizes = {"hidden": hidden, "grid": grid, "channels": channels}
    return {"kind": "patch_linear", "name": "synthesis", "bits": BITS, "prefixes": PREFIXES} | sizes


def residual_stage(name: str, channels: int) -> dict:
    """A :class:`Residual`'s description."""
    return {"kind": "residual", "name": name, "channels": channels, "kernel": 3}


class Decoder(Network):
    """Latents [n, 256, rows, columns] of -1/+1, 0 where a prefix ends, to RGB [n, 3, 32*rows, 32*columns], 0 to 1."""

    def __init__(
        self, hidden: int = HIDDEN[1], coarse: int = 96, coarse_blocks: int = 4, fine: int = 64, fine_blocks: int = 8
    ):
        super().__init__()
        self.coarse, self.fine = coarse, fine
        self.hidden = nn.Linear(BITS, hidden)
        self.synthesis = nn.Linear(hidden, GRID * GRID * BASE)
        self.head = nn.Conv2d(BASE, coarse, 3, padding=1)
        self.body8 = nn.ModuleList(Residual(coarse) for _ in range(coarse_blocks))
        self.up = nn.Conv2d(coarse, fine * 4, 3, padding=1)
        self.body4 = nn.ModuleList(Residual(fine) for _ in range(fine_blocks))
        self.tail = nn.Conv2d(fine, 48, 3, padding=1)
        self.join = nn.Conv2d(48, fine, 3, padding=1)
        with torch.no_grad():
            self.synthesis.weight.mul_(0.3)
            self.synthesis.bias.zero_()
            # Maps are centered on mid-gray, which keeps the units alive; the last bias adds it again.
            for conv in (self.head, self.up):
                nn.init.kaiming_normal_(conv.weight)
                conv.bias.zero_()
            self.head.weight.mul_(2)
            self.join.weight.zero_()
            self.join.bias.zero_()
            self.tail.weight.zero_()
            self.tail.bias.fill_(0.5)

    def synthesize(self, latents: Tensor) -> Tensor:
        """The map at 1/8 resolution that each patch gives alone, [n, 192, 4*rows, 4*columns], mid-gray as 0."""
        n, _, rows, columns = latents.shape
        maps = self.synthesis(F.relu(self.hidden(latents.permute(0, 2, 3, 1))))
        maps = maps.view(n, rows, columns, GRID, GRID, BASE).permute(0, 5, 1, 3, 2, 4)
        return maps.reshape(n, BASE, rows * GRID, columns * GRID).contiguous(memory_format=torch.channels_last)

    def patches(self, latents: Tensor) -> Tensor:
        """Each patch alone, RGB from 0 to 1, for the first stage of training."""
        return F.pixel_shuffle(self.synthesize(latents), 8) + 0.5

    def forward(self, latents: Tensor) -> Tensor:
        base = self.synthesize(latents)
        x = F.relu(self.head(base))
        for block in self.body8:
            x = block(x)
        frame = F.pixel_shuffle(base, BLOCK)
        x = F.pixel_shuffle(F.relu(self.up(x)), 2) + self.join(F.pixel_unshuffle(frame, 4))
        for block in self.body4:
            x = block(x)
        return frame + F.pixel_shuffle(self.tail(x), 4)

    def stages(self) -> dict:
        return {
            "stages": [
                synthesis_stage(self.hidden.out_features, GRID, BASE),
                conv_stage("head", BASE, self.coarse, relu=True),
                *(residual_stage(f"body8.{i}", self.coarse) for i in range(len(self.body8))),
                conv_stage("up", self.coarse, self.fine * 4, relu=True),
                {"kind": "pixel_shuffle", "factor": 2},
                {"kind": "join", "name": "join", "in": 48, "channels": self.fine, "kernel": 3},
                *(residual_stage(f"body4.{i}", self.fine) for i in range(len(self.body4))),
                conv_stage("tail", self.fine, 48),
                {"kind": "pixel_shuffle", "factor": 4},
            ],
            "base": {"channels": BASE, "factor": 8},
        }

    def load_frame(self, path: Path) -> None:
        """Read only the full-frame part of another decoder; it fits any latents with well synthesized patches."""
        self.load_state_dict({k: v for k, v in load_file(str(path)).items() if "synthesis" not in k}, strict=False)
