"""The training losses are the measures they stand for."""

import pytest
import torch

from patchwire_training.fit import losses


def frames(side: int) -> torch.Tensor:
    torch.manual_seed(8)
    coarse = torch.rand(2, 3, side // 8, side // 8)
    return torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1)


def test_ms_ssim_of_equals_is_one_and_falls_with_noise():
    picture = frames(192)
    noise = torch.randn_like(picture)
    found = [losses.ms_ssim(picture, picture + amount * noise).item() for amount in (0.0, 0.02, 0.1)]
    assert found[0] == pytest.approx(1.0, abs=1e-5)
    assert found[0] > found[1] > found[2] > 0


def test_ms_ssim_of_a_shift_in_brightness_is_that_of_the_coarsest_mean():
    # Contrast and structure are untouched at every scale; only the last scale compares means.
    flat, brighter = torch.full((1, 3, 176, 176), 0.4), torch.full((1, 3, 176, 176), 0.5)
    luminance = (2 * 0.4 * 0.5 + 0.0001) / (0.4**2 + 0.5**2 + 0.0001)
    assert losses.ms_ssim(flat, brighter).item() == pytest.approx(luminance**0.1333, abs=1e-4)


def test_ms_ssim_takes_the_scales_that_fit():
    losses.ms_ssim(frames(128), frames(128))
    with pytest.raises(ValueError, match="frames of 8 pixels, the window is 11"):
        losses.ms_ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_seam_ratio_sees_blocks_and_passes_a_gradient():
    ramp = torch.linspace(0, 1, 128).expand(1, 3, 128, 128).clone()
    assert losses.seam_ratio(ramp).item() == pytest.approx(1.0, abs=1e-3)
    blocks = (torch.arange(128) // 32 / 4).expand(1, 3, 128, 128) + 0.1 * ramp
    blocks = blocks.clone().requires_grad_()
    ratio = losses.seam_ratio(blocks)
    assert ratio.item() > 10
    ratio.backward()
    assert blocks.grad.abs().sum() > 0
