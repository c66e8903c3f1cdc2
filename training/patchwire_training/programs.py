"""The layer tables of the shipped programs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from .quant import Chip, Pool, QConv


@dataclass(frozen=True)
class Table:
    """Channels of the classifier's hidden layers, and levels of the weights: first layer, hidden layers, logits.

    With groups, the hidden layers but the first are group convolutions whose output channels are shuffled.
    """

    channels: tuple[int, int, int, int, int, int, int]
    levels: tuple[int, int, int]
    groups: int = 1


MIXED = Table((64, 96, 96, 128, 128, 128, 192), (5, 2, 3))
"""What is shipped: binary weights where the channels are many."""
TABLES = {
    "mixed": MIXED,
    "binary": Table((64, 96, 96, 128, 128, 128, 208), (2, 2, 2)),
    "ternary": Table((64, 64, 64, 88, 88, 96, 136), (3, 3, 3)),
    "quinary": Table((64, 48, 56, 72, 72, 80, 104), (5, 5, 5)),
    "mixed-groups": Table((64, 136, 136, 176, 184, 184, 272), (5, 2, 3), groups=2),
}
"""Each about as large on chip as the others."""


def classifier(table: Table = MIXED) -> Chip:
    """CIFAR-10 classifier, about 1 Mb on chip."""
    groups = table.groups
    first, *rest, last = table.channels
    entry, hidden, logits = table.levels
    pooled_after = (1, 4)
    layers = [QConv(3, first, 3, padding=1, levels=entry, pixels=True), Pool(2)]
    for i, (inputs, outputs) in enumerate(itertools.pairwise((first, *rest, last))):
        kernels = outputs if groups > 1 else None
        layers.append(QConv(inputs, outputs, 3, padding=1, levels=hidden, groups=groups, kernels=kernels))
        if groups > 1:
            layers[-1].kernel_of.copy_(torch.arange(outputs).view(groups, -1).T.flatten())
        if i in pooled_after:
            layers.append(Pool(2))
    return Chip(*layers, QConv(last, 10, 4, levels=logits, output="logits"))


BITS = 256
"""Latent bits a patch."""
UNITS = 930
"""The most thresholds of the compressor's first layer."""


def compressor(kernels: int, units: int, bits: int = BITS, levels: int = 5) -> Chip:
    """Patch encoder, 256 latent bits a 32x32 patch: `units` thresholds of `kernels` sums over the whole patch."""
    return Chip(
        QConv(3, units, 32, kernels=kernels, levels=levels, pixels=True),
        QConv(units, bits, 1, pruned=True, levels=3, output="bits"),
    )


def compressor_like(state: dict) -> Chip:
    """A compressor of the shape of a state dict's, whose kernels hold the codes themselves."""
    codes, (bits, units, *_) = state["0.weight"], state["1.weight"].shape
    levels = 5 if codes.abs().max() > 1 else 3 if (codes == 0).any() else 2
    return compressor(len(codes), units, bits, levels)
