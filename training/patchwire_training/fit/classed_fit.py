"""Fit a compression program that adapts its quantizers to how busy the patch is.

A flat patch and a busy one have the same principal components, but over ranges that differ by an order of magnitude.
The first bit of the latent says which class the patch is of; the others are the Gray codes of `transform_fit`, each
class with bits and thresholds of its own. The chip makes them in four layers:

1. the whole patch: one quinary kernel a component; the units that share it are the thresholds of both classes;
2. the bits of either class, each as if the patch were of it, and the class: how many thresholds lie between the
   components and their medians;
3. gates: the bits of one class if the patch is of it, those of the other if not;
4. bits: either gate.
"""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from ..models import programs
from ..chip.quant import Chip
from ..fit.quantizers import LEAST, allot_bits, folds, level_means, steps, units_of
from ..fit.transform_fit import (
    CANDIDATES,
    CHUNK,
    SEARCHED,
    Candidate,
    Component,
    kernels_of,
    moments,
    principal,
)

FLAT, BUSY = 0, 1
MEANS = 3
"""First components, the mean colour: a patch is not busy for them."""
BUSY_SHARE = 0.25
"""Of the patches: errors are large where the patch is busy, and there the better fit shows."""
PASSES = 3
"""Rounds of classes from thresholds, and thresholds from classes."""


class _Code:
    """The quantizers of one class: thresholds of each chosen component, and places of its bits."""

    def __init__(self, values: Tensor, outputs: Tensor, bits: int, units: int):
        found = [Candidate(v, o) for v, o in zip(values.T.contiguous(), outputs.T.contiguous())]
        order = allot_bits(lambda i, n: found[i].error(n), len(found), bits, units)
        # Place 0 is the class.
        self.places = {i: [p + 1 for p, j in enumerate(order) if j == i][::-1] for i in sorted(set(order))}
        self.thresholds = {i: found[i].quantizer(len(p))[1] for i, p in self.places.items()}

    def busyness(self, outputs: Tensor) -> Tensor:
        """Thresholds between the components and their medians, in codes [n]; whole numbers up to a constant."""
        total = torch.zeros(len(outputs))
        for i, thresholds in self.thresholds.items():
            if i >= MEANS:
                total += steps(outputs[:, i], thresholds) @ away(len(thresholds))
        return total


def away(units: int) -> Tensor:
    """Signs [units] with which a component's units count thresholds away from the middle one."""
    return (torch.arange(units) - units // 2).sign().float()


@torch.no_grad()
def fit(
    patches: Tensor,
    *,
    units: int = programs.CLASS_UNITS,
    bits: int = programs.BITS,
    levels: int = 5,
    carried: bool = True,
    components: int = programs.CLASS_KERNELS,
) -> tuple[Chip, list[list[Component]]]:
    """The program, with at most `units` thresholds per class, and the meaning of the bits of either class.

    `patches` [n, 3, 32, 32] holds pixels, 0 to 255; some 100,000 are enough.
    """
    mean, covariance = moments(patches)
    basis = principal(covariance, min(CANDIDATES, components))
    kernels = kernels_of(basis.T.contiguous(), covariance, levels, carried)
    center = torch.round(kernels @ mean)
    sample = patches[:: max(1, len(patches) // (2 * SEARCHED))].float().flatten(1)
    # Whole numbers, as the chip's sums are.
    values, outputs = (sample - mean) @ basis, sample @ kernels.T - center
    busyness = values[:, MEANS:].pow(2).sum(1)
    for _ in tqdm(range(PASSES), desc="classes"):
        edge = busyness.quantile(1 - BUSY_SHARE)
        is_busy = busyness > edge
        if not is_busy.any():
            raise ValueError("the busiest patches are all equally busy: a sample of photographs is needed")
        codes = [_Code(values[k], outputs[k], bits - 1, units) for k in (~is_busy, is_busy)]
        busyness = sum(code.busyness(outputs) for code in codes)
    edge = int(busyness.quantile(1 - BUSY_SHARE))
    return _program(codes, kernels, center, edge, bits, levels), [
        [Component(basis[:, i].clone(), places) for i, places in code.places.items()] for code in codes
    ]


def _program(codes: list[_Code], kernels: Tensor, center: Tensor, edge: int, bits: int, levels: int) -> Chip:
    """The chip's four layers; a patch is busy where the busyness is more than `edge`."""
    chosen = sorted({i for code in codes for i in code.places})
    row_of = {i: row for row, i in enumerate(chosen)}
    rows, thresholds = [], []
    signs = torch.zeros(2 * (bits - 1) + 1, sum(units_of(len(p)) for code in codes for p in code.places.values()))
    unit = 0
    for k, code in enumerate(codes):
        for i, at in code.places.items():
            own = slice(unit, unit + units_of(len(at)))
            unit = own.stop
            rows += [row_of[i]] * (own.stop - own.start)
            thresholds.append(code.thresholds[i])
            # Twice, so that a bit of either class is 0 or more than 0 where its fold is below LEAST or not.
            signs[[k * (bits - 1) + place for place in at], own] = 2 * folds(len(at))
            if i >= MEANS:
                signs[0, own] = 2 * away(own.stop - own.start)
    kernel_of = torch.tensor(rows)
    first, second, gates, last = chip = programs.classed_compressor(len(chosen), unit, bits, levels)
    first.kernel_of.copy_(kernel_of)
    biases = LEAST - torch.cat(thresholds) - center[chosen][kernel_of]
    first.set_integers(kernels[chosen].view_as(first.weight), biases, 0)
    # The class is 0, or 2 or more: an even number.
    offsets = torch.full((len(signs),), float(1 - 2 * LEAST))
    offsets[0] = -2 * edge
    second.set_integers(signs.view_as(second.weight), offsets, 0)

    gating, offsets = torch.zeros(len(signs), len(signs)), torch.zeros(len(signs))
    gating[0, 0] = 1
    for place in range(1, bits):
        flat, busy = place, bits - 1 + place
        gating[flat, flat], gating[flat, 0] = 1, -2
        gating[busy, busy], gating[busy, 0], offsets[busy] = 1, 1, -3
    gates.set_integers(gating.view_as(gates.weight), offsets, 0)
    either = torch.zeros(bits, len(signs))
    either[0, 0] = 1
    for place in range(1, bits):
        either[place, place] = either[place, bits - 1 + place] = 1
    last.set_integers(either.view_as(last.weight), torch.full((bits,), -1.0), 0)
    return chip
