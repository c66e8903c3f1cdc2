"""The compression program fitted in closed form, part by part and as a whole."""

import itertools
import math

import numpy as np
import pytest
import torch

from patchwire_training.fit import classed_fit, quantizers, rounding, transform_fit
from patchwire_training.models import programs
from patchwire_training.fit.start import start_decoder
from patchwire_training.models.decoder import HIDDEN, Decoder


def smooth_patches(count: int) -> torch.Tensor:
    torch.manual_seed(4)
    coarse = torch.randn(count, 3, 4, 4) * 30 + torch.randn(count, 1, 1, 1) * 50 + 128
    return torch.nn.functional.interpolate(coarse, size=32, mode="bicubic").round().clamp(0, 255)


def test_lloyd_finds_the_gaussian_quantizer():
    torch.manual_seed(1)
    thresholds = quantizers.lloyd(torch.randn(100_000), 4)
    # Max (1960): 0 and +-0.9816 for four levels.
    np.testing.assert_allclose(thresholds.numpy(), [-0.9816, 0.0, 0.9816], atol=0.03)


def test_bits_go_where_they_save_most_and_heed_the_units():
    variances = [1000.0, 300.0, 100.0, 30.0, 10.0, 6.0, 3.0, 1.0]
    error = lambda i, n: variances[i] / 4**n
    free = quantizers.allot_bits(error, 8, 10, 1000)
    counts = np.bincount(free)
    assert len(free) == 10 and list(counts) == sorted(counts, reverse=True) and free[0] == 0
    tight = quantizers.allot_bits(error, 8, 10, 20)
    assert len(tight) == 10 and sum(quantizers.units_of(int(n)) for n in np.bincount(tight)) <= 20
    with pytest.raises(ValueError, match="10 bits do not fit 3 hidden units"):
        quantizers.allot_bits(error, 8, 10, 3)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6])
def test_folded_units_are_a_gray_code(bits):
    # One output in each cell between thresholds ten apart, and one at each threshold.
    thresholds = 10.0 * torch.arange(1, 1 << bits)
    outputs = torch.cat([10.0 * torch.arange(1 << bits) + 5, thresholds])
    numbers = quantizers.symbols(quantizers.steps(outputs, thresholds)).tolist()
    found = numbers[: 1 << bits]
    assert numbers[1 << bits :] == found[1:], "a threshold belongs to the cell above"
    assert len(set(found)) == 1 << bits, "each cell has a code of its own"
    assert all((a ^ b).bit_count() == 1 for a, b in itertools.pairwise(found)), "neighbours differ in one bit"


def test_carrying_errors_over_beats_rounding():
    torch.manual_seed(2)
    data = torch.randn(2000, 64) @ torch.randn(64, 64) + 5 * torch.randn(2000, 1)
    data = data - data.mean(0)
    hessian = data.T @ data / len(data) + 0.1 * torch.eye(64)
    weights = torch.randn(8, 64)
    step = 1.7 * weights.abs().mean(1)
    carried = rounding.Rounding(hessian).rows(weights, step, 3)
    rounded = torch.clamp(torch.round(weights / step[:, None]), -1, 1)

    def error(codes):
        outputs, wanted = data @ codes.T, data @ weights.T
        slope = (outputs * wanted).mean(0) / outputs.pow(2).mean(0)
        return (outputs * slope - wanted).pow(2).mean()

    assert set(carried.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert error(carried) < 0.6 * error(rounded)


def test_fitted_chip_and_decoder_start_as_a_transform_code():
    decoder = Decoder()
    decoder.hidden = torch.nn.Linear(40, 256)
    decoder.synthesis = torch.nn.Linear(256, decoder.synthesis.out_features)
    patches = smooth_patches(3000)
    chip, components = transform_fit.fit(patches, units=120, bits=40)
    assert chip[0].beta.shape[0] <= 120 and len(chip[0].weight) == len(components)
    assert chip[1].kept.float().mean() < 0.3, "the last layer is mostly pruned"
    assert sorted(place for c in components for place in c.places) == list(range(40))
    start_decoder(decoder, chip, [components], patches)
    fresh = smooth_patches(3500)[3000:]
    with torch.no_grad(), chip.exactly():
        result = decoder.patches(chip(fresh).flatten(1)[:, :, None, None]) * 255
    psnr = 10 * math.log10(255**2 / (result - fresh).pow(2).mean().item())
    constant = 10 * math.log10(255**2 / (patches.mean(0) - fresh).pow(2).mean().item())
    assert psnr > constant + 8, f"{psnr:.1f} dB, {constant:.1f} dB with no bits at all"


def test_the_decoder_has_a_unit_for_every_threshold():
    assert programs.UNITS <= HIDDEN[1]
    # One unit more: the difference between the means of the classes.
    assert 2 * programs.CLASS_UNITS + 1 <= HIDDEN[2]


def test_a_flat_and_a_busy_patch_have_quantizers_of_their_own():
    scale = torch.where(torch.arange(4000) % 5 == 0, 1.0, 0.1)[:, None, None, None]
    patches = ((smooth_patches(4000) - 128) * scale + 128).round()
    chip, codes = classed_fit.fit(patches[:3400], units=120, bits=40, components=14)
    fresh, busy = patches[3400:], scale[3400:].flatten() == 1
    with torch.no_grad(), chip.exactly():
        latents = chip(fresh).flatten(1)
    assert ((latents[:, 0] > 0) == busy).float().mean() > 0.9, "the first bit tells the classes apart"
    assert all(sorted(p for c in code for p in c.places) == list(range(1, 40)) for code in codes)

    decoder = Decoder()
    decoder.hidden = torch.nn.Linear(40, 256)
    decoder.synthesis = torch.nn.Linear(256, decoder.synthesis.out_features)
    start_decoder(decoder, chip, codes, patches[:3400])
    single, components = transform_fit.fit(patches[:3400], units=120, bits=40)
    other = Decoder()
    other.hidden = torch.nn.Linear(40, 256)
    other.synthesis = torch.nn.Linear(256, other.synthesis.out_features)
    start_decoder(other, single, [components], patches[:3400])

    def error(chip, decoder):
        with torch.no_grad(), chip.exactly():
            result = decoder.patches(chip(fresh).flatten(1)[:, :, None, None]) * 255
        return (result - fresh).pow(2).mean((1, 2, 3))

    classed, alike = error(chip, decoder), error(single, other)
    assert classed[~busy].mean() < 0.7 * alike[~busy].mean(), "flat patches gain most"
    assert classed[busy].mean() < 1.1 * alike[busy].mean()
