"""The layer tables of the shipped programs."""

from __future__ import annotations

from .quant import Chip, Pool, QConv


def classifier() -> Chip:
    """CIFAR-10 classifier, 1.03 Mb on chip; binary weights where the channels are many."""
    return Chip(
        QConv(3, 64, 3, padding=1, levels=5, pixels=True),
        Pool(2),
        QConv(64, 96, 3, padding=1, levels=2),
        QConv(96, 96, 3, padding=1, levels=2),
        Pool(2),
        QConv(96, 128, 3, padding=1, levels=2),
        QConv(128, 128, 3, padding=1, levels=2),
        QConv(128, 128, 3, padding=1, levels=2),
        Pool(2),
        QConv(128, 192, 3, padding=1, levels=2),
        QConv(192, 10, 4, levels=3, output="logits"),
    )


BITS = 256
"""Latent bits a patch."""
BLOCKS, UNITS = 192, 930
"""Channels of the compressor's first layer, and the most of its second."""


def compressor(blocks: int, kernels: int, units: int, bits: int = BITS) -> Chip:
    """Patch encoder, 256 latent bits a 32x32 patch, each with the whole patch in sight.

    `units` thresholds of `kernels` sums: how many, the fit decides.
    """
    return Chip(
        QConv(3, blocks, 8, stride=8, levels=5, pixels=True),
        QConv(blocks, units, 4, kernels=kernels, levels=5),
        QConv(units, bits, 1, pruned=True, levels=3, output="bits"),
    )


def compressor_like(state: dict) -> Chip:
    """A compressor of the shape of a state dict's."""
    blocks, (kernels, *_), (bits, units, *_) = (state[f"{i}.weight"].shape for i in range(3))
    return compressor(blocks[0], kernels, units, bits)
