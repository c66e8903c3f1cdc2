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
UNITS = 930
"""The most thresholds of the compressor's first layer."""


def compressor(kernels: int, units: int, bits: int = BITS) -> Chip:
    """Patch encoder, 256 latent bits a 32x32 patch: `units` thresholds of `kernels` sums over the whole patch."""
    return Chip(
        QConv(3, units, 32, kernels=kernels, levels=5, pixels=True),
        QConv(units, bits, 1, pruned=True, levels=3, output="bits"),
    )


def compressor_like(state: dict) -> Chip:
    """A compressor of the shape of a state dict's."""
    kernels, (bits, units, *_) = len(state["0.weight"]), state["1.weight"].shape
    return compressor(kernels, units, bits)
