"""The decoder's losses: squared error, structure, and seams no more visible than in the originals.

Frames are [n, 3, h, w], RGB from 0 to 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Finest first: Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment", 2003."""


def log_error(result: Tensor, target: Tensor) -> Tensor:
    """Log of the mean squared error over the batch, as if its frames were one; PSNR is a multiple of it."""
    return F.mse_loss(result, target).log()


def luma(frames: Tensor) -> Tensor:
    """[n, 1, h, w]."""
    return (frames * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def seam_ratio(frames: Tensor) -> Tensor:
    """Mean absolute luma step across patch borders, divided by the one 16 pixels beside them, over all frames."""
    y = luma(frames)
    rows, columns = y.diff(dim=2).abs(), y.diff(dim=3).abs()
    across = rows[:, :, 31::32].mean() + columns[:, :, :, 31::32].mean()
    inside = rows[:, :, 15::32].mean() + columns[:, :, :, 15::32].mean()
    return across / inside


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean MS-SSIM on luma, over as many of the five scales as fit the frames, their weights made to sum to 1."""
    side = min(first.shape[-2:])
    scales = sum(side >> i >= WINDOW for i in range(len(SCALE_WEIGHTS)))
    if not scales:
        raise ValueError(f"frames of {side} pixels, the window is {WINDOW}")
    weights = torch.tensor(SCALE_WEIGHTS[:scales])
    weights /= weights.sum()
    at = torch.arange(WINDOW) - WINDOW // 2
    kernel = torch.exp(-(at**2) / (2 * SIGMA**2))
    kernel /= kernel.sum()
    smooth = lambda x: F.conv2d(F.conv2d(x, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    a, b = luma(first), luma(second)
    result = torch.ones(len(a))
    for i, weight in enumerate(weights):
        mean_a, mean_b = smooth(a), smooth(b)
        variances = smooth(a * a + b * b) - mean_a**2 - mean_b**2
        term = (2 * (smooth(a * b) - mean_a * mean_b) + C2) / (variances + C2)
        if i + 1 == scales:
            term = term * (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
        # A frame unlike its original keeps a gradient.
        result = result * term.mean((1, 2, 3)).clamp_min(0.01) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return result.mean()
