"""Fit the compression program in closed form: a transform code of the patch.

The bits are Gray codes of the principal components of 32x32 patches, each with its own number of bits and a Lloyd-Max
quantizer, made of the chip's own means in three layers:

1. blocks of 8x8 pixels: each channel a ramp of 2-bit codes over three thresholds of a local component;
2. the whole patch: components by ridge regression on these codes; each unit a ramp over three of the quantizer's
   thresholds;
3. bits: sums and differences of ramps (`quantizers.fold`).

The decoder starts as the table of these quantizers: one hidden unit per level of a component, whose weights are the mean
of the component at that level times its basis patch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .decoder import Decoder
from .quant import Chip, QConv
from .quantizers import allot_bits, allot_units, fold, lloyd
from .rounding import round_rows

SIDE, BLOCK = 32, 8
PIXELS_SHIFT, CODES_SHIFT = 10, 2
PIXELS_SCALES = (7.0, 14.0)
"""Least and most accumulator units per unit of a local component: coarser loses weights, finer clips them."""
CODES_STEPS = (3.0, 4.0, 5.0, 6.5, 8.0)
"""Ternary steps to try, in mean magnitudes of the row's weights."""
CANDIDATES = 200
"""Principal components that may get bits."""
KEPT = 150
"""Principal components that the local components of layer 1 are chosen for."""
RIDGE = 0.003


@dataclass(frozen=True)
class Component:
    """One principal component in the latent: its basis patch [3072], and where the bits of its Gray code are, finest first."""

    basis: Tensor
    places: list[int]


def blocks(patches: Tensor) -> Tensor:
    """[n, 3072] to [16n, 192]: 8x8 blocks, row-major within a patch."""
    grid = SIDE // BLOCK
    return patches.view(-1, 3, grid, BLOCK, grid, BLOCK).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3 * BLOCK * BLOCK)


def principal(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Variances, falling, and components as columns, of centered samples [n, k]."""
    variances, basis = torch.linalg.eigh(samples.T @ samples / len(samples))
    return variances.flip(0).clamp_min(0), basis.flip(1)


def slopes(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of each column of `outputs` as a multiple of that of `targets`, least squares."""
    return (outputs * targets).mean(0) / targets.pow(2).mean(0)


def fit_blocks(layer: QConv, pixels: Tensor, basis: Tensor) -> None:
    """Layer 1: thresholds of the components of 8x8 blocks that matter to the columns of `basis` [3072, kept]."""
    mean = pixels.mean(0)
    local = blocks((pixels - mean) @ basis @ basis.T)
    variances, directions = principal(local)
    values = blocks(pixels)
    center = values.mean(0)
    values = values - center
    hessian = values.T @ values / len(values)
    hessian += 0.002 * hessian.diagonal().mean() * torch.eye(len(hessian))

    rows, thresholds = [], []
    for i, units in enumerate(allot_units(variances.numpy(), layer.weight.shape[0])):
        if units:
            cuts = lloyd((values[::4] @ directions[:, i]), 3 * units + 1).view(units, 3)
            rows += [i] * units
            thresholds.append(cuts)
    cuts = torch.cat(thresholds)
    spacing = (cuts[:, 2] - cuts[:, 0]) / 2
    scale = (2.0**PIXELS_SHIFT / spacing).clamp(*PIXELS_SCALES)
    codes = round_rows(directions[:, rows].T.contiguous(), hessian, 1 / scale, 2)
    slope = slopes(values @ codes.T, values @ directions[:, rows])
    # The middle threshold lies where a code of 1 turns 2.
    bias = 2 * 2.0**PIXELS_SHIFT - cuts[:, 1] * slope - codes @ center
    layer.set_integers(codes.view_as(layer.weight), torch.round(bias), PIXELS_SHIFT)


def symbols(ramps: Tensor, bits: int) -> Tensor:
    """The Gray-coded number of a component from its units' codes [n, units]."""
    total = torch.zeros(len(ramps), dtype=torch.long)
    for n, (terms, least) in enumerate(fold(bits)):
        units, signs = zip(*terms)
        total += (ramps[:, list(units)] @ torch.tensor(signs, dtype=torch.float32) >= least).long() << n
    return total


def level_means(values: Tensor, symbol: Tensor, bits: int) -> Tensor:
    """Mean of the values with each symbol, [2^bits]."""
    sums = torch.zeros(1 << bits).index_add_(0, symbol, values)
    return sums / torch.bincount(symbol, minlength=1 << bits).clamp_min(1)


@torch.no_grad()
def fit(chip: Chip, patches: Tensor) -> list[Component]:
    """Set all three layers of the chip; `patches` [n, 3, 32, 32] holds pixels, 0 to 255, some 40,000 are enough."""
    first, second, third = chip
    pixels = patches.float().flatten(1)
    mean = pixels.mean(0)
    _, basis = principal(pixels - mean)
    fit_blocks(first, pixels[: len(pixels) // 6], basis[:, :KEPT])
    with chip.exactly():
        codes = torch.cat([first(p.float()).flatten(1) for p in patches.split(500)])
    center = codes.mean(0)
    codes -= center
    targets = (pixels - mean) @ basis[:, :CANDIDATES]
    hessian = codes.T @ codes / len(codes)
    hessian += RIDGE * hessian.diagonal().mean() * torch.eye(len(hessian))
    weights = torch.linalg.solve(hessian, codes.T @ targets / len(codes)).T

    bits = third.weight.shape[0]
    order = allot_bits((codes @ weights.T).var(0).numpy(), bits, second.weight.shape[0])
    chosen = sorted(set(order))
    # The bits are in order of use, so that a prefix of them is a coarser latent.
    places = {i: [place for place, j in enumerate(order) if j == i][::-1] for i in chosen}
    cuts = {i: lloyd(targets[::2, i], 1 << len(places[i])) for i in chosen}

    unit = 2.0**CODES_SHIFT
    least = {i: math.inf for i in chosen}
    best: dict[int, tuple[Tensor, Tensor]] = {}
    sample = slice(0, len(codes), 2)
    wanted = weights[chosen]
    for scale in CODES_STEPS:
        found = round_rows(wanted, hessian, scale * wanted.abs().mean(1), 1)
        outputs = codes[sample] @ found.T
        slope = slopes(outputs, targets[sample][:, chosen])
        for row, i in enumerate(chosen):
            n, middles = len(places[i]), cuts[i][::2] * slope[row]
            ramps = torch.floor((outputs[:, row, None] - middles) / unit + 2).clamp(0, 3)
            symbol, values = symbols(ramps, n), targets[sample, i]
            error = (values - level_means(values, symbol, n)[symbol]).pow(2).mean().item()
            if error < least[i]:
                least[i], best[i] = error, (found[row], middles)

    rows, biases = torch.zeros(second.weight.shape[0], codes.shape[1]), torch.zeros(second.weight.shape[0])
    folds, leasts = torch.zeros(bits, len(rows)), torch.zeros(bits)
    at = 0
    for i in chosen:
        row, middles = best[i]
        rows[at : at + len(middles)] = row
        biases[at : at + len(middles)] = torch.round(2 * unit - middles - row @ center)
        for place, (terms, needed) in zip(places[i], fold(len(places[i]))):
            for j, sign in terms:
                folds[place, at + j] += sign
            leasts[place] = needed
        at += len(middles)
    second.set_integers(rows.view_as(second.weight), biases, CODES_SHIFT)
    third.set_integers(folds.view_as(third.weight), -leasts, 0)
    return [Component(basis[:, i].clone(), places[i]) for i in chosen]


def to_map(images: Tensor) -> Tensor:
    """Patches [n, 3072], channels first, to the order of the decoder's synthesized map: block, then channel."""
    return blocks(images).reshape(len(images), -1)


@torch.no_grad()
def start_decoder(decoder: Decoder, chip: Chip, components: list[Component], patches: Tensor) -> None:
    """Make the decoder's patch synthesis the table of the chip's quantizers; hidden units to spare stay as they are."""
    with chip.exactly():
        latents = torch.cat([chip(p.float()).flatten(1) for p in patches.split(500)]) > 0
    pixels = patches.float().flatten(1)
    base = pixels.mean(0)
    values = (pixels - base) @ torch.stack([c.basis for c in components]).T
    hidden, synthesis = decoder.hidden, decoder.synthesis
    hidden.weight.mul_(0.5)
    synthesis.weight.mul_(0.1)
    unit = 0
    for column, component in enumerate(components):
        n = len(component.places)
        symbol = (latents[:, component.places].long() << torch.arange(n)).sum(1)
        means = level_means(values[:, column], symbol, n)
        first = 0
        if n == 1:  # One unit is enough: the other level is the constant.
            base = base + component.basis * means[0]
            means, first = means - means[0], 1
        for level in range(first, 1 << n):
            signs = torch.tensor([1.0 if level >> k & 1 else -1.0 for k in range(n)])
            hidden.weight[unit] = 0
            hidden.weight[unit, component.places] = signs / 2
            # 1 when all its bits are as they should be, else 0 or less.
            hidden.bias[unit] = 1 - n / 2
            synthesis.weight[:, unit] = to_map(component.basis[None] * means[level] / 255)[0]
            unit += 1
    synthesis.bias.copy_(to_map(base[None] / 255)[0] - 0.5)
