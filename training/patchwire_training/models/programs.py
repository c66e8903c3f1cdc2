"""The layer tables of the shipped programs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..chip.quant import Chip, Pool, QConv


@dataclass(frozen=True)
class Table:
    """The classifier's layers: channels of those at 16x16, 8x8 and 4x4 after the first at 32x32, and levels of the
    weights.

    A pooling precedes each row; the last row may be empty. Levels are those of the first layer, of each row and of the
    logits. With groups, the hidden layers but the first are group
    convolutions whose output channels are shuffled. In a mirrored table every layer is.
    """

    first: int
    rows: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    levels: tuple[int, int, int, int, int]
    groups: int = 1
    mirrored: bool = False


SHIPPED = Table(64, ((88, 96, 104), (128, 136, 136, 144), ()), (5, 3, 3, 3, 3), mirrored=True)
"""Ternary weights, half of them stored."""
TABLES = {
    "mirrored": SHIPPED,
    "mixed": Table(64, ((96, 96), (128, 128, 128), (192,)), (5, 2, 2, 2, 3)),
    "mixed-deep": Table(64, ((96, 96, 112), (128, 128, 128, 128), ()), (5, 2, 2, 2, 3)),
    "mixed-mirrored": Table(64, ((128, 144, 152), (184, 184, 184, 192), ()), (5, 2, 2, 2, 3), mirrored=True),
    "binary": Table(64, ((96, 96), (128, 128, 128), (208,)), (2, 2, 2, 2, 2)),
    "ternary": Table(64, ((64, 64), (88, 88, 96), (136,)), (3, 3, 3, 3, 3)),
    "quinary": Table(64, ((48, 56), (72, 72, 80), (104,)), (5, 5, 5, 5, 5)),
    "quinary-mirrored": Table(64, ((72, 80, 88), (104, 104, 104, 112), ()), (5, 5, 5, 5, 5), mirrored=True),
    "mixed-groups": Table(64, ((136, 136), (176, 184, 184), (272,)), (5, 2, 2, 2, 3), groups=2),
}
"""Each about as large on chip as the others."""


def classifier(table: Table = SHIPPED) -> Chip:
    """CIFAR-10 classifier, about 1 Mb on chip."""
    groups, mirrored = table.groups, table.mirrored
    entry, *hidden, logits = table.levels
    layers = [QConv(3, table.first, 3, padding=1, levels=entry, mirrored=mirrored, pixels=True)]
    inputs = table.first
    for row, levels in zip(table.rows, hidden):
        layers.append(Pool(2))
        for outputs in row:
            kernels = outputs if groups > 1 else None
            conv = QConv(
                inputs, outputs, 3, padding=1, levels=levels, groups=groups, kernels=kernels, mirrored=mirrored
            )
            layers.append(conv)
            if groups > 1:
                conv.kernel_of.copy_(torch.arange(outputs).view(groups, -1).T.flatten())
            inputs = outputs
    return Chip(*layers, QConv(inputs, 10, 4, levels=logits, output="logits", mirrored=mirrored))


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


CLASS_UNITS, CLASS_KERNELS = 760, 96
"""The most thresholds of a class of the compressor that tells patches apart, and kernels of both."""


def classed_compressor(kernels: int, units: int, bits: int = BITS, levels: int = 5) -> Chip:
    """Patch encoder with two classes of patches: `units` thresholds of `kernels` sums, bits of both classes, gates."""
    both = 2 * (bits - 1) + 1
    return Chip(
        QConv(3, units, 32, kernels=kernels, levels=levels, pixels=True),
        QConv(units, both, 1, pruned=True, levels=5),
        QConv(both, both, 1, pruned=True, levels=5),
        QConv(both, bits, 1, pruned=True, levels=3, output="bits"),
    )


def compressor_like(state: dict) -> Chip:
    """A compressor of the shape of a state dict's, whose kernels hold the codes themselves."""
    codes, units = state["0.weight"], len(state["0.beta"])
    levels = 5 if codes.abs().max() > 1 else 3 if (codes == 0).any() else 2
    if "2.weight" in state:
        return classed_compressor(len(codes), units, len(state["3.weight"]), levels)
    return compressor(len(codes), units, len(state["1.weight"]), levels)
