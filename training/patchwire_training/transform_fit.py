"""Fit the compression program in closed form: a transform code of the patch.

The bits are Gray codes of the principal components of 32x32 patches, each with its own number of bits and a quantizer of
its own, made of the chip's own means in three layers:

1. blocks of 8x8 pixels: each channel a ramp of 2-bit codes over three thresholds of a local component;
2. the whole patch: components by ridge regression on these codes, one kernel each; the units that share it are the
   quantizer's thresholds;
3. bits: sums and differences of units (`quantizers.folds`), all other inputs pruned.

The decoder starts as the table of these quantizers: one hidden unit per level of a component, whose weights are the mean
of the component at that level times its basis patch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from . import programs
from .decoder import Decoder
from .quant import Chip, QConv
from .quantizers import LEAST, allot_bits, allot_units, distortion_of, folds, level_means, lloyd, steps, symbols
from .rounding import Rounding

SIDE, BLOCK = 32, 8
PIXELS_SHIFT = 10
PIXELS_SCALES = (7.0, 14.0)
"""Least and most accumulator units per unit of a local component: coarser loses weights, finer clips them."""
CODES_STEPS = (2.3, 3.3, 4.6, 6.5)
"""Weight steps to try for a component, in mean magnitudes of its row's weights: finer ones clip too many."""
CANDIDATES = 170
"""Principal components that may get bits."""
LOCAL = 96
"""Local components of a block that layer 1 may look at."""
RIDGE = 0.003
CHUNK = 1000
SEARCHED = 20_000
"""Patches over which thresholds are searched."""


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
    variances, directions = principal(blocks((pixels - mean) @ basis @ basis.T))
    variances = variances[:LOCAL]
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
    codes = Rounding(hessian).rows(directions[:, rows].T.contiguous(), 1 / scale, 2)
    slope = slopes(values @ codes.T, values @ directions[:, rows])
    # The middle threshold lies where a code of 1 turns 2.
    bias = 2 * 2.0**PIXELS_SHIFT - cuts[:, 1] * slope - codes @ center
    layer.set_integers(codes.view_as(layer.weight), torch.round(bias), PIXELS_SHIFT)


@dataclass
class Candidate:
    """A principal component on the way to its bits: values and whole outputs of its row over a sample [n], and the row."""

    values: Tensor
    outputs: Tensor
    row: Tensor
    found: dict[int, tuple[float, Tensor]] = field(default_factory=dict)

    def quantizer(self, bits: int) -> tuple[float, Tensor]:
        """Mean squared error with so many bits, and the thresholds of the outputs."""
        if bits not in self.found:
            thresholds = torch.ceil(lloyd(self.outputs, 1 << bits))
            symbol = symbols(steps(self.outputs, thresholds))
            self.found[bits] = (distortion_of(self.values, symbol, bits), thresholds)
        return self.found[bits]

    def error(self, bits: int) -> float:
        """Mean squared error with so many bits."""
        return self.quantizer(bits)[0] if bits else self.values.pow(2).mean().item()


def moments(first: QConv, patches: Tensor, mean: Tensor, basis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of layer 1's codes over the patches: their mean [k], covariance [k, k] and that with the components [k, c]."""
    size = first.weight.shape[0] * (SIDE // BLOCK) ** 2
    total, square = torch.zeros(size), torch.zeros(size, size)
    values_total, cross = torch.zeros(basis.shape[1]), torch.zeros(size, basis.shape[1])
    for part in tqdm(patches.split(CHUNK), desc="moments of the codes"):
        codes = first(part.float()).flatten(1)
        total += codes.sum(0)
        square.addmm_(codes.T, codes)
        values = (part.float().flatten(1) - mean) @ basis
        values_total += values.sum(0)
        cross.addmm_(codes.T, values)
    center, n = total / len(patches), len(patches)
    return center, square / n - torch.outer(center, center), cross / n - torch.outer(center, values_total / n)


def candidates(first: QConv, patches: Tensor, mean: Tensor, basis: Tensor) -> tuple[list[Candidate], Tensor]:
    """Each column of `basis` with its rounded row over layer 1's codes, and these codes' mean [k]."""
    center, hessian, cross = moments(first, patches, mean, basis)
    hessian += RIDGE * hessian.diagonal().mean() * torch.eye(len(hessian))
    weights = torch.linalg.solve(hessian, cross).T
    sample = patches[:: max(1, len(patches) // SEARCHED)]
    codes = torch.cat([first(p.float()).flatten(1) for p in sample.split(CHUNK)])
    values = (sample.float().flatten(1) - mean) @ basis
    rounding = Rounding(hessian)
    likeness = torch.full((len(weights),), -1.0)
    rows, outputs = torch.zeros_like(weights), torch.zeros(len(sample), len(weights))
    for step in tqdm(CODES_STEPS, desc="rounding rows"):
        rounded = rounding.rows(weights, step * weights.abs().mean(1), 2)
        # Still whole numbers, as the chip's sums are.
        results = codes @ rounded.T - torch.round(rounded @ center)
        found = ((results - results.mean(0)) * values).mean(0) / (results.std(0) * values.std(0)).clamp_min(1e-9)
        better = found > likeness
        rows[better], outputs[:, better], likeness[better] = rounded[better], results[:, better], found[better]
    columns = zip(values.T.contiguous(), outputs.T.contiguous(), rows)
    return [Candidate(*column) for column in columns], center


@torch.no_grad()
def fit(
    patches: Tensor, *, blocks: int = programs.BLOCKS, units: int = programs.UNITS, bits: int = programs.BITS
) -> tuple[Chip, list[Component]]:
    """The program, of `blocks` channels in layer 1 and at most `units` in layer 2, and what its bits mean.

    `patches` [n, 3, 32, 32] holds pixels, 0 to 255; some 100,000 are enough.
    """
    chip = programs.compressor(blocks, 1, 1, bits)
    first = chip[0]
    sample = patches[:: max(1, len(patches) // SEARCHED)].float().flatten(1)
    mean = sample.mean(0)
    basis = principal(sample - mean)[1][:, :CANDIDATES]
    fit_blocks(first, sample, basis)
    with chip.exactly():
        found, center = candidates(first, patches, mean, basis)
    order = allot_bits(lambda i, n: found[i].error(n), len(found), bits, units)
    chosen = sorted(set(order))
    # The bits are in order of use, so that a prefix of them is a coarser latent.
    places = {i: [place for place, j in enumerate(order) if j == i][::-1] for i in chosen}

    thresholds = [found[i].quantizer(len(places[i]))[1] for i in chosen]
    rows = torch.stack([found[i].row for i in chosen])
    kernel_of = torch.cat([torch.full((len(t),), row) for row, t in enumerate(thresholds)])
    chip = programs.compressor(blocks, len(chosen), len(kernel_of), bits)
    _, second, third = chip
    chip[0] = first
    second.kernel_of.copy_(kernel_of)
    biases = LEAST - torch.cat(thresholds) - torch.round(rows @ center)[kernel_of]
    second.set_integers(rows.view_as(second.weight), biases, 0)
    signs = torch.zeros(bits, len(kernel_of))
    for row, i in enumerate(chosen):
        units = (kernel_of == row).nonzero().flatten()
        signs[torch.tensor(places[i])[:, None], units] = folds(len(places[i]))
    third.set_integers(signs.view_as(third.weight), torch.full((bits,), float(-LEAST)), 0)
    return chip, [Component(basis[:, i].clone(), places[i]) for i in chosen]


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
