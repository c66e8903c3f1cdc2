"""The decoder's first patch synthesis, from the tables of a fitted program's quantizers."""

from __future__ import annotations

import torch
from torch import Tensor

from ..chip.quant import Chip
from ..models.decoder import BLOCK, Decoder
from .classed_fit import BUSY, FLAT
from .quantizers import level_means
from .transform_fit import CHUNK, SIDE, Component


def to_map(images: Tensor) -> Tensor:
    """Patches [n, 3072], channels first, to the order of the decoder's synthesized map: 8x8 block, then channel."""
    grid = SIDE // BLOCK
    return images.view(-1, 3, grid, BLOCK, grid, BLOCK).permute(0, 2, 4, 1, 3, 5).reshape(len(images), -1)


@torch.no_grad()
def start_decoder(decoder: Decoder, chip: Chip, codes: list[list[Component]], patches: Tensor) -> None:
    """Make the decoder's patch synthesis the tables of each class's components; spare hidden units stay as they are.

    ``codes`` is one list of components per class; with two of them, latent bit 0 says that the patch is busy.
    """
    with chip.exactly():
        latents = torch.cat([chip(p.float()).flatten(1) for p in patches.split(CHUNK)]) > 0
    hidden, synthesis = decoder.hidden, decoder.synthesis
    hidden.weight.mul_(0.5)
    synthesis.weight.mul_(0.1)
    if len(codes) == 1:
        _, base = write_table(decoder, 0, codes[0], patches, latents)
        synthesis.bias.copy_(to_map(base[None] / 255)[0] - 0.5)
        return
    unit, bases = 0, []
    for k, components in enumerate(codes):
        own = latents[:, 0] == (k == BUSY)
        sign = 1.0 if k == BUSY else -1.0
        unit, base = write_table(decoder, unit, components, patches[own], latents[own], sign)
        bases.append(base)
    hidden.weight[unit] = 0
    hidden.weight[unit, 0], hidden.bias[unit] = 0.5, 0.5
    synthesis.weight[:, unit] = to_map((bases[BUSY] - bases[FLAT])[None] / 255)[0]
    synthesis.bias.copy_(to_map(bases[FLAT][None] / 255)[0] - 0.5)


def write_table(
    decoder: Decoder,
    unit: int,
    components: list[Component],
    patches: Tensor,
    latents: Tensor,
    class_sign: float | None = None,
) -> tuple[int, Tensor]:
    """Write one code's table to the hidden units from ``unit`` on; gives the next unit and the patch of all first
    levels.

    With ``class_sign``, units count only where latent bit 0 has this sign.
    """
    hidden, synthesis = decoder.hidden, decoder.synthesis
    pixels = patches.float().flatten(1)
    base = pixels.mean(0)
    values = (pixels - base) @ torch.stack([c.basis for c in components]).T
    for column, component in enumerate(components):
        n = len(component.places)
        symbol = (latents[:, component.places].long() << torch.arange(n)).sum(1)
        means = level_means(values[:, column], symbol, n)
        # The first level is the constant.
        base, means = base + component.basis * means[0], means - means[0]
        for level in range(1, 1 << n):
            signs = torch.tensor([1.0 if level >> b & 1 else -1.0 for b in range(n)])
            hidden.weight[unit] = 0
            hidden.weight[unit, component.places] = signs / 2
            if class_sign is not None:
                hidden.weight[unit, 0] = class_sign / 2
            # 1 where all these bits have the unit's signs, else 0 or less.
            hidden.bias[unit] = 1 - (n + (class_sign is not None)) / 2
            synthesis.weight[:, unit] = to_map(component.basis[None] * means[level] / 255)[0]
            unit += 1
    return unit, base
