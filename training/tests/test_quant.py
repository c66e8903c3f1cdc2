"""The quantizers do what they are named for."""

import torch

from patchwire_training.chip.quant import Chip, Mode, QConv, heq_step, quantize


def shares(levels: int) -> list[float]:
    torch.manual_seed(1)
    weight = torch.randn(40_000)
    codes = quantize(weight, heq_step(weight, levels), levels)
    return [(codes == v).float().mean().item() for v in codes.unique().tolist()]


def test_ternary_levels_are_used_equally():
    assert all(abs(share - 1 / 3) < 0.02 for share in shares(3))


def test_quinary_levels_are_used_about_equally():
    found = shares(5)
    assert len(found) == 5 and all(abs(share - 0.2) < 0.04 for share in found)


def test_binary_has_no_zero():
    assert len(shares(2)) == 2


def test_shift_follows_the_spread_with_hysteresis_and_freezes():
    torch.manual_seed(2)
    layer = QConv(8, 16, 3, padding=1)
    layer.mode = Mode.QUANT
    layer.train()
    for _ in range(64):
        layer(torch.randint(0, 4, (4, 8, 8, 8)).float())
    settled = layer.shift.item()
    for _ in range(200):
        layer(torch.randint(0, 4, (4, 8, 8, 8)).float() * 16)
    assert layer.shift.item() >= settled + 3
    layer.freeze_shift = True
    frozen = layer.shift.item()
    for _ in range(200):
        layer(torch.randint(0, 4, (4, 8, 8, 8)).float())
    assert layer.shift.item() == frozen


def test_gradient_reaches_the_proxy_weights():
    layer = QConv(4, 8, 3, padding=1)
    layer.mode = Mode.QUANT
    layer(torch.randint(0, 4, (2, 4, 8, 8)).float()).square().mean().backward()
    assert layer.weight.grad.abs().sum() > 0 and layer.beta.grad.abs().sum() > 0


def test_settled_means_are_those_of_the_layers_as_exported():
    torch.manual_seed(6)
    chip = Chip(QConv(3, 8, 3, padding=1, levels=5, pixels=True), QConv(8, 6, 2, stride=2))
    images = torch.randint(0, 256, (40, 3, 32, 32))
    for _ in range(10):
        chip(images[:8].float())
    chip.settle_means(images)
    chip.eval()
    with torch.no_grad():
        first = chip[0].accumulate(images.float())
        second = chip[1].accumulate(chip[0](images.float()))
    torch.testing.assert_close(chip[0].mean, first.mean((0, 2, 3)), rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(chip[1].mean, second.mean((0, 2, 3)), rtol=1e-4, atol=1e-3)
