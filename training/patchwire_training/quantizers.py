"""Scalar quantizers of the latent: how many bits a component gets and where its thresholds lie."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MOST_BITS = 6
"""Of a component: its units double with each."""
GAUSSIAN = [1.0, 0.3634, 0.1902, 0.1175, 0.0799, 0.0580, 0.0440, 0.0345]
"""Distortion of Lloyd-Max quantizers of a unit Gaussian with 1 to 8 levels (Max, 1960)."""


def distortion(levels: int) -> float:
    """Of a unit Gaussian; beyond 8 levels about 2.33 / levels^2."""
    return GAUSSIAN[levels - 1] if levels <= len(GAUSSIAN) else 2.33 / levels**2


def lloyd(values: Tensor, levels: int) -> Tensor:
    """Thresholds [levels - 1] of the Lloyd-Max quantizer of the samples."""
    values = values.sort().values
    centers = values[((torch.arange(levels) + 0.5) / levels * len(values)).long()]
    for _ in range(60):
        cell = torch.bucketize(values, (centers[1:] + centers[:-1]) / 2)
        sums = torch.zeros(levels).index_add_(0, cell, values)
        counts = torch.bincount(cell, minlength=levels)
        centers = torch.where(counts > 0, sums / counts.clamp_min(1), centers)
    return (centers[1:] + centers[:-1]) / 2


def allot_units(variances: np.ndarray, units: int) -> np.ndarray:
    """Units of each component when a unit brings three thresholds; each goes where it saves most."""
    given = np.zeros(len(variances), int)
    for _ in range(units):
        saved = [v * (distortion(3 * n + 1) - distortion(3 * n + 4)) for v, n in zip(variances, given)]
        given[int(np.argmax(saved))] += 1
    return given


def units_of(bits: int) -> int:
    """Hidden units behind a component of so many bits: see :func:`fold`."""
    return 1 << (bits - 1) if bits else 0


def allot_bits(variances: np.ndarray, bits: int, units: int) -> list[int]:
    """The component that each of `bits` bits refines, most useful bit first, with at most `units` hidden units behind.

    A bit more goes where it saves most; a price on units, raised until they suffice, keeps single components
    from taking many.
    """
    price = 0.0
    while True:
        given = np.zeros(len(variances), int)
        order = []
        for _ in range(bits):
            saved = [
                v * (distortion(2**n) - distortion(2 ** (n + 1))) / (1 + price * (units_of(n + 1) - units_of(n)))
                if n < MOST_BITS
                else -1.0
                for v, n in zip(variances, given)
            ]
            order.append(int(np.argmax(saved)))
            given[order[-1]] += 1
        if sum(units_of(int(n)) for n in given) <= units:
            return order
        if price > 20:
            raise ValueError(f"{bits} bits do not fit {units} hidden units")
        price += 0.1


def fold(bits: int) -> list[tuple[list[tuple[int, int]], int]]:
    """A component's Gray code from its units: for each bit the (unit, sign) pairs and the least sum that sets it.

    A component of b bits has 2^b - 1 thresholds and 2^(b-1) units. Unit j is a ramp of codes 0 to 3 over three
    thresholds: its own in the middle, number 2j + 1, and the two beside it. The last bit changes at the middles: it is
    the triangle wave u0 - u1 + u2 - ..., cut at 2. A bit before changes at even thresholds only; between two changes it
    is a pulse that rises with the first step of one unit and falls with the last step of another.
    """
    last = [(j, 1 if j % 2 == 0 else -1) for j in range(units_of(bits))]
    found = [(last, 2)]
    for k in range(1, bits):
        edges = range(2**k, 2**bits, 2 ** (k + 1))
        found.append(([(p // 2, 1) if n % 2 == 0 else (p // 2 - 1, -1) for n, p in enumerate(edges)], 1))
    return found
