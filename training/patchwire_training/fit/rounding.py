"""Rounding of a linear layer's weights to few levels, so that its outputs stay as they were."""

from __future__ import annotations

import torch
from torch import Tensor

from ..chip.quant import quantize

SWEEPS = 4


class Rounding:
    """Rounding of rows over inputs with second moments `hessian` [k, k]."""

    def __init__(self, hessian: Tensor):
        self.hessian = hessian
        self.order = hessian.diagonal().argsort(descending=True)
        inverse = torch.linalg.inv(hessian[self.order][:, self.order].double())
        self.inverse = torch.linalg.cholesky(inverse, upper=True).float()

    def rows(self, weights: Tensor, step: Tensor, levels: int) -> Tensor:
        """Rows of `weights` [n, k] as codes of so many levels, times `step` [n].

        It minimizes the squared error of the outputs: one column at a time, the error carried over to the columns
        that remain (GPTQ: Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained
        transformers", ICLR 2023), then sweeps of coordinate descent.
        """
        hessian, inverse = self.hessian, self.inverse
        rest, codes = weights[:, self.order].clone(), torch.zeros_like(weights)
        for j, column in enumerate(self.order):
            code = quantize(rest[:, j], step, levels)
            codes[:, column] = code
            error = (rest[:, j] - code * step) / inverse[j, j]
            rest[:, j:].addr_(error, inverse[j, j:], alpha=-1)

        wanted, one = weights @ hessian, torch.ones(())
        for _ in range(SWEEPS):
            given = codes @ hessian
            step = (given * weights).sum(1) / (given * codes).sum(1).clamp_min(1e-9)
            gradient = given * step[:, None] - wanted
            for j in range(len(hessian)):
                best = codes[:, j] - gradient[:, j] / (hessian[j, j] * step)
                code = quantize(best, one, levels)
                gradient.addr_((code - codes[:, j]) * step, hessian[j])
                codes[:, j] = code
        return codes
