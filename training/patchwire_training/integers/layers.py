"""Layers from full precision to integers: scales, weights of few bits, biases, multipliers and shifts.

A map's step is the real number that 1 stands for in it. Of a layer with 1 of its sums standing for `unit`, 1 of its
output for `step`, the multiplier is unit / step * 2^(15 + shift).
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 63
"""Of a weight's magnitude."""
CLIPS = torch.linspace(0.85, 1, 7).tolist()
"""Shares of the range that was seen: the one with the least error is taken. With less, some pictures lose much."""
SHARES = (0.8, 1.0)
"""Of the largest weight: the one with the least error is taken."""
POSITIONS = 12_000
"""Places of maps at which a layer's input is looked at."""
BLOCK = 48
"""Weights that are rounded before the others make up for their errors, which is faster."""
DAMPING = 0.01
"""Of the covariance, as a share of its mean diagonal."""
SAMPLE = 4_000_000
"""Values to which a range is fitted."""
TALLEST = 32767
"""Of a 16-bit value and of a multiplier."""


def fit_reading(values: Tensor, count: Tensor) -> tuple[int, int]:
    """Scale and zero with which maps of integers [n, channels, h, w] lose least in bytes.

    `count` says how much an error of each channel counts.
    """
    sample = values.transpose(0, 1).flatten(1)
    sample = sample[:, :: max(1, sample.numel() // SAMPLE)].float()
    low, high = min(0.0, sample.min().item()), max(1.0, sample.max().item())
    best = (math.inf, 0, 0)
    for share in CLIPS:
        scale = min(TALLEST, round(32768 * 255 / (share * (high - low))))
        zero = min(255, max(0, round(-share * low * scale / 32768)))
        read = ((sample * scale / 32768 + 0.5).floor() + zero).clamp(0, 255) - zero
        error = ((read * (32768 / scale) - sample).square().mean(1).double() @ count).item()
        best = min(best, (error, scale, zero))
    return best[1:]


def moments(values: Tensor, kernel: int) -> Tensor:
    """Covariance [n, n] of what a kernel's window of maps [count, in, h, w] sees, n = in * kernel^2."""
    total, count, mean = 0.0, 0, 0.0
    stride = max(1, math.ceil(values.shape[0] * values.shape[2] * values.shape[3] / POSITIONS))
    for frame in values.float().split(1):
        seen = F.unfold(frame, kernel, padding=kernel // 2)[0].T[::stride].double()
        total, mean, count = total + seen.T @ seen, mean + seen.sum(0), count + len(seen)
    mean /= count
    return total / count - torch.outer(mean, mean)


def carried(weight: Tensor, unit: Tensor, covariance: Tensor) -> Tensor:
    """Integers of weights [out, n], rounded one after the other: later ones make up for the errors of earlier ones.

    Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained transformers", 2023.
    """
    order = covariance.diagonal().argsort(descending=True)
    damped = covariance[order][:, order]
    damped = damped + DAMPING * damped.diagonal().mean().clamp_min(1e-6) * torch.eye(len(order), dtype=damped.dtype)
    factor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    rest, result = weight[:, order].double(), torch.zeros_like(weight)
    for start in range(0, len(order), BLOCK):
        block, own = rest[:, start : start + BLOCK], factor[start : start + BLOCK]
        errors = torch.zeros_like(block)
        for i, column in enumerate(order[start : start + BLOCK].tolist()):
            integers = (block[:, i] / unit).round().clamp(-LARGEST - 1, LARGEST)
            result[:, column] = integers.float()
            errors[:, i] = (block[:, i] - integers * unit) / own[i, start + i]
            block[:, i + 1 :] -= torch.outer(errors[:, i], own[i, start + i + 1 : start + block.shape[1]])
        rest[:, start + BLOCK :] -= errors @ own[:, start + BLOCK :]
    return result


def fit_weights(weight: Tensor, covariance: Tensor, least: Tensor, most: float) -> tuple[Tensor, Tensor]:
    """Integers [out, in, k, k] of weights, and the real number that 1 stands for in each output, `least` to `most`."""
    flat = weight.flatten(1)
    largest = flat.abs().amax(1).clamp_min(1e-12)
    best_error = torch.full_like(largest, math.inf)
    best_unit, best = largest, torch.zeros_like(flat)
    for share in SHARES:
        unit = torch.maximum(share * largest / LARGEST, least).clamp_max(most)
        integers = carried(flat, unit, covariance)
        error = (integers * unit[:, None] - flat).double()
        error = ((error @ covariance) * error).sum(1).float()
        better = error < best_error
        best_error, best_unit = torch.where(better, error, best_error), torch.where(better, unit, best_unit)
        best = torch.where(better[:, None], integers, best)
    return best.view_as(weight), best_unit


def fit_shift(unit: Tensor, step: float, tallest: int) -> int:
    """The largest shift with which no multiplier is more than `tallest`; `unit` and `step` see above."""
    largest = unit.max().item() / step * 2**15
    shift = math.floor(math.log2(tallest / largest))
    if not 0 <= shift <= 31:
        raise ValueError(f"1 of a sum stands for {unit.max():g}, 1 of its output for {step:g}: the shift would be {shift}")
    return shift


def as_integers(values: Tensor, kind: type) -> np.ndarray:
    """A tensor for the file; OverflowError where it does not fit."""
    limits, rounded = np.iinfo(kind), values.double().round()
    if rounded.min() < limits.min or rounded.max() > limits.max:
        raise OverflowError(f"{rounded.abs().max():g} does not fit {np.dtype(kind)}")
    return rounded.numpy().astype(kind)
