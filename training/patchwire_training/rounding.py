"""Rounding of a linear layer's weights to few levels, so that its outputs stay as they were."""

from __future__ import annotations

import torch
from torch import Tensor

SWEEPS = 4


def round_rows(weights: Tensor, hessian: Tensor, step: Tensor, half: int) -> Tensor:
    """Rows of `weights` [n, k] as integers from -half to half, times `step` [n].

    It minimizes the squared error of the outputs over inputs with second moments `hessian` [k, k]: one column at a
    time, the error carried over to the columns that remain (GPTQ: Frantar et al., "GPTQ: accurate post-training
    quantization for generative pre-trained transformers", ICLR 2023), then sweeps of coordinate descent.
    """
    order = hessian.diagonal().argsort(descending=True)
    inverse = torch.linalg.cholesky(torch.linalg.inv(hessian[order][:, order]), upper=True)
    rest, codes = weights[:, order].clone(), torch.zeros_like(weights)
    for j, column in enumerate(order):
        code = torch.clamp(torch.round(rest[:, j] / step), -half, half)
        codes[:, column] = code
        error = (rest[:, j] - code * step) / inverse[j, j]
        rest[:, j:] -= torch.outer(error, inverse[j, j:])

    wanted = weights @ hessian
    for _ in range(SWEEPS):
        given = codes @ hessian
        step = (given * weights).sum(1) / (given * codes).sum(1).clamp_min(1e-9)
        gradient = given * step[:, None] - wanted
        for j in range(len(hessian)):
            best = codes[:, j] - gradient[:, j] / (hessian[j, j] * step)
            code = torch.clamp(torch.round(best), -half, half)
            gradient += torch.outer((code - codes[:, j]) * step, hessian[j])
            codes[:, j] = code
    return codes
