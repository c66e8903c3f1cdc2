"""The layer tables of the shipped programs."""

from __future__ import annotations

from .quant import Chip, Pool, QConv


def classifier() -> Chip:
    """CIFAR-10 classifier, 1.03 Mb on chip; binary weights where the channels are many."""
    return Chip(
        QConv(3, 64, 3, padding=1, levels=5, pixels=True),
        Pool(2),
        QConv(64, 96, 3, padding=1, levels=3),
        Pool(2),
        QConv(96, 160, 3, padding=1, levels=3),
        QConv(160, 128, 3, padding=1, levels=2),
        Pool(2),
        QConv(128, 192, 3, padding=1, levels=2),
        QConv(192, 10, 4, levels=3, output="logits"),
    )


def compressor() -> Chip:
    """Patch encoder, 256 latent bits a 32x32 patch, each with the whole patch in sight."""
    return Chip(
        QConv(3, 64, 8, stride=8, levels=5, pixels=True),
        QConv(64, 352, 4, levels=3),
        QConv(352, 256, 1, levels=3, output="bits"),
    )
