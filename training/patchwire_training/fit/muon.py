"""Muon for proxy weights: orthogonalized momentum, and weights that keep their norm.

Quantization is independent of the scale of the weights, so only the angle matters by which a step turns them; with the
norm fixed, the rate is that angle. Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks",
2024.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration that drives all singular values towards 1."""
ITERATIONS = 3


def orthogonalize(matrix: Tensor) -> Tensor:
    """The matrix with its singular values driven towards 1."""
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Each step turns a weight tensor [out, ...] by about `lr` radians."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """One step."""
        for group in self.param_groups:
            momentum = group["momentum"]
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["velocity"] = torch.zeros_like(weight)
                    state["norm"] = weight.norm()
                velocity = state["velocity"].mul_(momentum).add_(weight.grad)
                ahead = (weight.grad + momentum * velocity).contiguous().flatten(1)
                turn = orthogonalize(ahead)
                turn *= state["norm"] / turn.norm()
                weight.add_(turn.view_as(weight), alpha=-group["lr"])
                weight.mul_(state["norm"] / weight.norm())
