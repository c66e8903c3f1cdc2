"""Fit the latent layer in closed form: each bit a threshold on a principal component of the patch.

Trained by gradient alone, latent bits crowd on a few directions of high variance. Here the 256 bits are
allotted to principal components of 32x32 patches, each bit one threshold of a Lloyd-Max quantizer; a ridge
regression from the codes of the layer before gives its real-valued weights, and these are rounded to ternary
one column at a time, each column's error carried over to the ones that remain (GPTQ: Frantar et al.,
"GPTQ: accurate post-training quantization for generative pre-trained transformers", ICLR 2023).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .quant import Chip, QConv

GAUSSIAN = [1.0, 0.3634, 0.1902, 0.1175, 0.0799, 0.0580, 0.0440, 0.0345]
"""Distortion of Lloyd-Max quantizers of a unit Gaussian with 1 to 8 levels (Max, 1960)."""
SCALES = (1.2, 1.7, 2.3, 3.0, 4.0)
"""Ternary steps to try, in mean magnitudes of the row's weights."""


def distortion(levels: int) -> float:
    """Of a unit Gaussian; beyond 8 levels about 2.33 / levels^2."""
    return GAUSSIAN[levels - 1] if levels <= len(GAUSSIAN) else 2.33 / levels**2


def allot(variances: np.ndarray, bits: int) -> np.ndarray:
    """Levels of each component's quantizer; a level more costs a bit and goes where it saves most."""
    levels = np.ones(len(variances), int)
    for _ in range(bits):
        saved = [v * (distortion(n) - distortion(n + 1)) for v, n in zip(variances, levels)]
        levels[int(np.argmax(saved))] += 1
    return levels


def lloyd(values: Tensor, levels: int) -> Tensor:
    """Thresholds [levels - 1] of the Lloyd-Max quantizer of the samples."""
    values = values.sort().values
    centers = values[((torch.arange(levels) + 0.5) / levels * len(values)).long()]
    for _ in range(100):
        cell = torch.bucketize(values, (centers[1:] + centers[:-1]) / 2)
        mine = [values[cell == j] for j in range(levels)]
        centers = torch.stack([m.mean() if len(m) else c for m, c in zip(mine, centers)])
    return (centers[1:] + centers[:-1]) / 2


def ternarize(weights: Tensor, hessian: Tensor, order: Tensor, step: Tensor) -> Tensor:
    """Rows of `weights` [n, k] as -1, 0, 1 times `step` [n], minimizing the output error under `hessian` [k, k]."""
    inverse = torch.linalg.cholesky(torch.linalg.inv(hessian[order][:, order]), upper=True)
    rest, codes = weights[:, order].clone(), torch.zeros_like(weights)
    for j in range(len(order)):
        code = torch.clamp(torch.round(rest[:, j] / step), -1, 1)
        codes[:, order[j]] = code
        error = (rest[:, j] - code * step) / inverse[j, j]
        rest[:, j:] -= torch.outer(error, inverse[j, j:])
    return codes


@torch.no_grad()
def fit(chip: Chip, patches: Tensor) -> float:
    """Replace the weights and biases of the chip's ternary latent layer, the last; returns the mean correlation.

    `patches` [n, 3, 32, 32] holds pixels, 0 to 255; some 24,000 are enough.
    """
    layer = chip[-1]
    assert isinstance(layer, QConv) and layer.output == "bits" and layer.levels == 3
    with chip.exactly():
        codes = torch.cat([chip[:-1](p.float()).flatten(1) for p in patches.split(500)])

    pixels = patches.float().flatten(1)
    pixels = pixels - pixels.mean(0)
    _, basis = torch.linalg.eigh(pixels.T @ pixels / len(pixels))
    bits = len(layer.beta)
    components = pixels @ basis.flip(1)[:, :bits]
    centered = codes - codes.mean(0)
    hessian = centered.T @ centered / len(codes)
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))
    weights = torch.linalg.solve(hessian, centered.T @ components / len(codes)).T

    explained = (centered @ weights.T).var(0)
    levels = allot(explained.numpy(), bits)
    rows = torch.tensor([i for i, n in enumerate(levels) for _ in range(n - 1)])
    thresholds = torch.cat([lloyd(components[:, i], n) for i, n in enumerate(levels) if n > 1])

    target, rows_weights = components[:, rows], weights[rows]
    best, chosen = torch.full((bits,), -1.0), torch.zeros_like(rows_weights)
    for scale in SCALES:
        order = torch.randperm(len(hessian))
        found = ternarize(rows_weights, hessian, order, scale * rows_weights.abs().mean(1))
        acc = centered @ found.T
        correlation = (acc * target).mean(0) / (acc.var(0).sqrt() * target.var(0).sqrt()).clamp_min(1e-6)
        better = correlation > best
        best[better], chosen[better] = correlation[better], found[better]

    acc = codes @ chosen.T
    spread = acc - acc.mean(0)
    slope = (spread * target).mean(0) / spread.pow(2).mean(0)
    layer.weight.copy_(chosen.view_as(layer.weight))
    layer.step.fill_(1.0)
    layer.beta.zero_()
    layer.mean.copy_(thresholds / slope + acc.mean(0))
    return best.mean().item()
