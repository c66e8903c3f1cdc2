"""The layer tables of the shipped programs."""

from __future__ import annotations

from .quant import Chip, Pool, QConv


def classifier() -> Chip:
    """CIFAR-10 classifier, 0.98 Mb on chip."""
    return Chip(
        QConv(3, 64, 3, padding=1, levels=5, pixels=True),
        Pool(2),
        QConv(64, 128, 3, padding=1, levels=3),
        QConv(128, 128, 3, padding=1, groups=2, levels=3),
        Pool(2),
        QConv(128, 192, 3, padding=1, groups=2, levels=3),
        QConv(192, 192, 3, padding=1, groups=3, levels=3),
        Pool(2),
        QConv(192, 10, 4, levels=3, output="logits"),
    )


def compressor() -> Chip:
    """Patch encoder, 256 latent bits a 32x32 patch, each with the whole patch in sight."""
    return Chip(
        QConv(3, 128, 4, stride=4, levels=5, pixels=True, spread=6.0),
        QConv(128, 96, 2, stride=2, levels=3),
        QConv(96, 256, 4, levels=3, output="bits"),
    )
