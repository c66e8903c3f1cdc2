"""Fit the compression program in closed form: a transform code of the patch.

The bits are Gray codes of the principal components of 32x32 patches, each with its own number of bits and a quantizer
of its own, made of the chip's own means in two layers:

1. the whole patch: one quinary kernel a component, straight over the pixels; the units that share it are the thresholds
   of the component's quantizer;
2. bits: sums and differences of units (`quantizers.folds`), all other inputs pruned.

The decoder starts as the table of these quantizers: one hidden unit per level of a component but the first, whose
weights are what the mean of the component at that level has over that at the first, times its basis patch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from ..models import programs
from ..chip.quant import Chip, heq_step, quantize
from ..fit.quantizers import LEAST, allot_bits, distortion_of, folds, lloyd, steps, symbols
from ..fit.rounding import Rounding

SIDE = 32
WEIGHTS_STEP = {2: 1.0, 3: 2.0, 5: 1.6}
"""Weight step of a kernel of so many levels whose errors are carried over, in mean magnitudes of its weights."""
CANDIDATES = 140
"""Principal components that may get bits."""
RIDGE = 10.0
"""Variance of noise on each pixel, gray levels squared, that the rounding of the weights takes into account."""
CHUNK = 2000
SEARCHED = 40_000
"""Patches over which thresholds are searched."""


@dataclass(frozen=True)
class Component:
    """A principal component in the latent: its basis patch [3072], and the places of its Gray code's bits, finest first."""

    basis: Tensor
    places: list[int]


@dataclass
class Candidate:
    """A principal component before its bits are allotted: values and whole outputs of its kernel over a sample [n]."""

    values: Tensor
    outputs: Tensor
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


def moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [3072] and covariance [3072, 3072] of the pixels of u8 patches."""
    size = patches[0].numel()
    total, square = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    for part in tqdm(patches.split(CHUNK), desc="moments of the pixels"):
        # Around mid-gray, where single precision suffices for a part.
        pixels = part.float().flatten(1) - 128
        total += pixels.sum(0)
        square += pixels.T @ pixels
    mean = total / len(patches)
    return (mean + 128).float(), (square / len(patches) - torch.outer(mean, mean)).float()


def principal(covariance: Tensor, count: int) -> Tensor:
    """The `count` principal components as columns, by falling variance."""
    return torch.linalg.eigh(covariance)[1].flip(1)[:, :count].contiguous()


def kernels_of(weights: Tensor, covariance: Tensor, levels: int, carried: bool) -> Tensor:
    """Rows of weights [n, 3072] in few levels: with errors carried over to other pixels, or rounded alone (HEQ)."""
    if not carried:
        return torch.stack([quantize(row, heq_step(row, levels), levels) for row in weights])
    rounding = Rounding(covariance + RIDGE * torch.eye(len(covariance)))
    return rounding.rows(weights, WEIGHTS_STEP[levels] * weights.abs().mean(1), levels)


@torch.no_grad()
def fit(
    patches: Tensor,
    *,
    units: int = programs.UNITS,
    bits: int = programs.BITS,
    levels: int = 5,
    carried: bool = True,
) -> tuple[Chip, list[Component]]:
    """The program, with at most `units` thresholds and kernels of so many levels, and the meaning of its bits.

    `patches` [n, 3, 32, 32] holds pixels, 0 to 255; some 100,000 are enough.
    """
    mean, covariance = moments(patches)
    basis = principal(covariance, CANDIDATES)
    kernels = kernels_of(basis.T.contiguous(), covariance, levels, carried)
    center = torch.round(kernels @ mean)
    sample = patches[:: max(1, len(patches) // SEARCHED)].float().flatten(1)
    # Whole numbers, as the chip's sums are.
    values, outputs = (sample - mean) @ basis, sample @ kernels.T - center
    found = [Candidate(v, o) for v, o in zip(values.T.contiguous(), outputs.T.contiguous())]

    order = allot_bits(lambda i, n: found[i].error(n), len(found), bits, units)
    chosen = sorted(set(order))
    # The bits are in order of use, so that a prefix of them is a coarser latent.
    places = {i: [place for place, j in enumerate(order) if j == i][::-1] for i in chosen}

    thresholds = [found[i].quantizer(len(places[i]))[1] for i in chosen]
    kernel_of = torch.cat([torch.full((len(t),), row) for row, t in enumerate(thresholds)])
    chip = programs.compressor(len(chosen), len(kernel_of), bits, levels)
    first, second = chip
    first.kernel_of.copy_(kernel_of)
    biases = LEAST - torch.cat(thresholds) - center[chosen][kernel_of]
    first.set_integers(kernels[chosen].view_as(first.weight), biases, 0)
    signs = torch.zeros(bits, len(kernel_of))
    for row, i in enumerate(chosen):
        units_of_row = (kernel_of == row).nonzero().flatten()
        signs[torch.tensor(places[i])[:, None], units_of_row] = folds(len(places[i]))
    second.set_integers(signs.view_as(second.weight), torch.full((bits,), float(-LEAST)), 0)
    return chip, [Component(basis[:, i].clone(), places[i]) for i in chosen]
