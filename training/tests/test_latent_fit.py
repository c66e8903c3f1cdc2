"""The closed-form latent layer."""

import numpy as np
import torch

from patchwire_training import latent_fit
from patchwire_training.quant import Chip, QConv


def smooth_patches(count: int) -> torch.Tensor:
    torch.manual_seed(4)
    coarse = torch.rand(count, 3, 4, 4) * 255
    return torch.nn.functional.interpolate(coarse, size=32, mode="bilinear").round()


def test_bits_go_where_they_save_most():
    levels = latent_fit.allot(np.array([100.0, 10.0, 1.0, 0.001]), 6)
    assert (levels - 1).sum() == 6
    assert levels[0] > levels[1] > levels[2] and levels[3] == 1


def test_lloyd_finds_the_gaussian_quantizer():
    torch.manual_seed(1)
    thresholds = latent_fit.lloyd(torch.randn(100_000), 4)
    # Max (1960): 0 and +-0.9816 for four levels.
    np.testing.assert_allclose(thresholds.numpy(), [-0.9816, 0.0, 0.9816], atol=0.03)


def test_carrying_errors_over_beats_rounding():
    torch.manual_seed(2)
    data = torch.randn(2000, 64) @ torch.randn(64, 64) + 5 * torch.randn(2000, 1)
    data = data - data.mean(0)
    hessian = data.T @ data / len(data) + 0.1 * torch.eye(64)
    weights = torch.randn(8, 64)
    step = 1.7 * weights.abs().mean(1)
    carried = latent_fit.ternarize(weights, hessian, torch.arange(64), step)
    rounded = torch.clamp(torch.round(weights / step[:, None]), -1, 1)
    error = lambda codes: ((data @ (codes * step[:, None] - weights).T) ** 2).mean()
    assert set(carried.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert error(carried) < 0.5 * error(rounded)


def test_fitted_bits_are_balanced_and_follow_the_components():
    torch.manual_seed(3)
    chip = Chip(
        QConv(3, 24, 8, stride=8, levels=5, pixels=True, spread=6.0),
        QConv(24, 16, 4, levels=3, output="bits"),
    )
    patches = smooth_patches(1500)
    chip.train()
    for batch in patches.split(50):
        chip(batch)
    correlation = latent_fit.fit(chip, patches)
    assert correlation > 0.7
    chip.eval()
    with torch.no_grad():
        share = (chip(patches).flatten(1) > 0).float().mean(0)
    assert ((share > 0.1) & (share < 0.9)).all()
