"""Scalar quantizers of the latent: the number of bits of a component, and its thresholds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

MOST_BITS = 6
"""Of a component: its units double with each."""

LEAST = 2
"""The code of a unit at its threshold."""


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


def units_of(bits: int) -> int:
    """Thresholds, each a hidden unit, behind a component of so many bits."""
    return (1 << bits) - 1


def folds(bits: int) -> Tensor:
    """A component's Gray code from its units: signs [bits, units], finest bit first.

    A unit's code is 0 well below its threshold, 2 or more from it on and 3 beyond. A bit changes at every other
    threshold that no finer bit changes at: it is set where the units there, with signs in turn, sum to at least
    :data:`LEAST`.
    """
    signs = torch.zeros(bits, units_of(bits))
    for bit in range(bits):
        edges = torch.arange(1 << bit, 1 << bits, 2 << bit) - 1
        signs[bit, edges[0::2]], signs[bit, edges[1::2]] = 1, -1
    return signs


def symbols(codes: Tensor) -> Tensor:
    """The Gray-coded number of a component from its units' codes [n, units]."""
    bits = codes.shape[1].bit_length()
    return ((codes @ folds(bits).T >= LEAST).long() << torch.arange(bits)).sum(1)


def steps(outputs: Tensor, thresholds: Tensor) -> Tensor:
    """Codes [n, units] of units over whole outputs [n], with whole thresholds [units]."""
    return (outputs[:, None] - thresholds + LEAST).clamp_(0, 3)


def level_means(values: Tensor, symbol: Tensor, bits: int) -> Tensor:
    """Mean of the values with each symbol, [2^bits]; 0 for a symbol that none has."""
    sums = torch.zeros(1 << bits).index_add_(0, symbol, values)
    return sums / torch.bincount(symbol, minlength=1 << bits).clamp_min(1)


def distortion_of(values: Tensor, symbol: Tensor, bits: int) -> float:
    """Mean squared error of the values when each is known by its symbol alone."""
    sums = torch.bincount(symbol, values, 1 << bits)
    counts = torch.bincount(symbol, minlength=1 << bits).clamp_min(1)
    return ((values.pow(2).sum() - (sums.pow(2) / counts).sum()) / len(values)).item()


def allot_bits(error: Callable[[int, int], float], components: int, bits: int, units: int) -> list[int]:
    """The component that each of `bits` bits refines, most useful bit first, with at most `units` hidden units behind.

    `error(i, n)` is the distortion of component i at n bits. Each further bit goes where it reduces the error most; a
    price on units, raised until they suffice, keeps single components from taking many.
    """
    saved = lambda i, n, price: (
        (error(i, n) - error(i, n + 1)) / (1 + price * (units_of(n + 1) - units_of(n))) if n < MOST_BITS else -math.inf
    )
    price = 0.0
    while price < 20:
        given, order = [0] * components, []
        next_saved = [saved(i, 0, price) for i in range(components)]
        for _ in range(bits):
            best = int(np.argmax(next_saved))
            given[best] += 1
            order.append(best)
            next_saved[best] = saved(best, given[best], price)
        if sum(map(units_of, given)) <= units:
            return order
        price += 0.02
    raise ValueError(f"{bits} bits do not fit {units} hidden units")
