"""The chip's arithmetic as trainable layers.

A layer computes ``acc = conv(x, q) + bias`` with small integer weights ``q``, then one of

- codes:  ``clamp(acc >> shift, 0, 3)``, one shift for the whole layer (BSN, HWMSB),
- bits:   ``acc >= 0``,
- logits: ``acc``.

While training, ``bias = (beta - mean / 2**shift) * 2**shift`` is not rounded and ``mean`` is the batch's;
a network in evaluation uses the running mean, and its steps, means and shifts stay as they are. In chip mode
the bias is the frozen integer that is exported, so that float32 gives the chip's results exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TRACK_EVERY = 8
"""Steps between updates of the quantizer's step and the layer's spread: both move slowly and cost a pass."""

TARGET_SPREAD = {"codes": 1.5, "bits": 1.0, "logits": 2.0}
"""Standard deviation that the layer-shared shift aims at, in units of the output step."""


class Mode(Enum):
    """How a network computes."""

    FLOAT = "float"
    """Weights as they are, in units of their step; codes as on the chip. The first stage of staged precision."""
    QUANT = "quant"
    """Quantized forward, straight-through backward."""
    CHIP = "chip"
    """Quantized forward with the exported integer biases: equal to the chip bit for bit in float32."""


def heq_step(weight: Tensor, levels: int) -> Tensor:
    """Step of the histogram-equalized quantizer: all levels are used about equally.

    Ternary puts the threshold s/2 at the 33 % quantile of |w|; quinary takes the step that fits
    s/2 at 20 % and 3s/2 at 60 % best; binary needs no step beyond a scale.
    """
    magnitude = weight.detach().abs().flatten().float()
    if levels == 2:
        return magnitude.mean()
    if magnitude.numel() > 100_000:
        magnitude = magnitude[:: magnitude.numel() // 100_000 + 1]
    if levels == 3:
        return 2 * torch.quantile(magnitude, 1 / 3)
    q20, q60 = torch.quantile(magnitude, torch.tensor([0.2, 0.6]))
    # Least squares over s of (s/2 - q20)^2 + (3s/2 - q60)^2.
    return (q20 / 2 + 1.5 * q60) / 2.5


UNIFORM_STEP = {2: 1.0, 3: 1.2240, 5: 0.8430}
"""Of the uniform quantizer of least squared error for a Gaussian of spread 1: Max, "Quantizing for minimum
distortion", 1960. Binary has no step."""


def least_squares_step(weight: Tensor, levels: int) -> Tensor:
    """Step of least squared error, the alternative to histogram equalization."""
    return UNIFORM_STEP[levels] * weight.detach().float().std()


def quantize(weight: Tensor, step: Tensor, levels: int) -> Tensor:
    """Integer weight codes: {-1, 1}, {-1, 0, 1} or {-2..2}."""
    if levels == 2:
        return torch.where(weight >= 0, 1.0, -1.0)
    half = (levels - 1) // 2
    return torch.clamp(torch.round(weight / step), -half, half)


class _Codes(torch.autograd.Function):
    """clamp(floor(acc * scale + offset), 0, 3); the gradient passes where the clamp does not bind."""

    @staticmethod
    def forward(ctx, acc, scale, offset, center):
        y = torch.addcmul(offset, acc, scale)
        ctx.save_for_backward(y, scale)
        ctx.center = center
        return y.floor().clamp_(0, 3)

    @staticmethod
    def backward(ctx, grad):
        y, scale = ctx.saved_tensors
        grad = torch.ops.aten.hardtanh_backward(grad, y, -0.25, 4.25)
        offset_grad = grad.sum((0, 2, 3), keepdim=True)
        if not ctx.center:
            return grad * scale, None, offset_grad, None
        # The batch mean that was subtracted depends on acc too.
        mean_grad = offset_grad * (-scale * grad.shape[1] / grad.numel())
        return torch.addcmul(mean_grad, grad, scale), None, offset_grad, None


class _Sign(torch.autograd.Function):
    """+1 or -1; the gradient is that of a hard tanh of width 1.5."""

    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y.abs() <= 1.5)
        return torch.where(y >= 0, 1.0, -1.0).to(y.dtype)

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        return grad * mask


class Pool(nn.Module):
    """Max pooling: over codes, or over accumulators before the shift, which gives the same codes."""

    def __init__(self, kernel: int, stride: int | None = None):
        super().__init__()
        self.kernel, self.stride = kernel, stride or kernel

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel, self.stride)


class QConv(nn.Module):
    """One convolution of the chip with its normalization and output quantizer.

    With `kernels` fewer than outputs, several output channels share a kernel and differ in bias; a `pruned` layer
    leaves out the kernels of input channels that it does not keep.

    A `mirrored` layer has twice the weights that it stores. The second half of its output channels are those of the
    first half for the input seen in a mirror: columns in reverse order, the halves of the input channels swapped
    (pixels have no halves), biases shared. Logits are the same for both, so their layer stores the weights of the
    first half of its input channels. Such a network gives the same logits for an image and its mirror image.
    Source: Cohen and Welling, "Group equivariant convolutional networks", 2016.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        kernels: int | None = None,
        pruned: bool = False,
        mirrored: bool = False,
        levels: int = 3,
        output: str = "codes",
        pixels: bool = False,
    ):
        super().__init__()
        self.stride, self.padding, self.groups = stride, padding, groups
        self.levels, self.output = levels, output
        self.target = TARGET_SPREAD[output]
        self.mode = Mode.QUANT
        self.step_of = heq_step
        self.freeze_shift = False
        self.score_shift = 0
        self.shared, self.pruned, self.mirrored = kernels is not None, pruned, mirrored
        self.pixels, self.outputs = pixels, outputs
        halves = 2 if mirrored else 1
        stored_inputs, biases = (inputs // halves, outputs) if output == "logits" else (inputs, outputs // halves)
        kernels = kernels or biases
        self.weight = nn.Parameter(0.3 * torch.randn(kernels, stored_inputs // groups, kernel, kernel))
        if self.shared:  # Which kernel each output channel adds its bias to.
            self.register_buffer("kernel_of", torch.arange(outputs) % kernels)
        if pruned:  # Which input channels each kernel looks at.
            self.register_buffer("kept", torch.ones(kernels, stored_inputs // groups, dtype=torch.bool))
        self.beta = nn.Parameter(torch.full((biases,), float(output == "codes")))
        fan_in = kernel * kernel * inputs // groups
        input_spread = 60.0 if pixels else 1.0
        guess = math.log2(math.sqrt(fan_in) * input_spread / self.target)
        self.register_buffer("shift", torch.tensor(float(max(0, round(guess)))))
        self.register_buffer("step", heq_step(self.weight, levels))
        self.register_buffer("mean", torch.zeros(biases))
        self.register_buffer("spread", torch.tensor(0.0))
        self.register_buffer("ticks", torch.tensor(0))

    def integer_weight(self) -> Tensor:
        """Weight codes that are stored, as floats holding integers, [kernels, in/groups, k, k], 0 where pruned."""
        return self._prune(quantize(self.weight.detach(), self.step, self.levels))

    def _prune(self, weight: Tensor) -> Tensor:
        return weight * self.kept[:, :, None, None] if self.pruned else weight

    def integer_bias(self) -> Tensor:
        """The exported bias, [out], or [out/2] of a mirrored layer to codes, floats holding integers.

        Rounded down, since for whole accumulators that decides exactly as the real bias does.
        """
        bias = self.beta.detach().double() * 2.0 ** self.shift.double() - self.mean.double()
        return (torch.round(bias) if self.output == "logits" else torch.floor(bias)).float()

    @torch.no_grad()
    def set_integers(self, codes: Tensor, bias: Tensor, shift: int) -> None:
        """Set the integers: weight codes in the shape of `weight`, the bias in the shape of `beta`, and the shift.

        A pruned layer keeps the input channels whose weights are not all 0.
        """
        if self.pruned:
            self.kept.copy_(codes.abs().sum((2, 3)) > 0)
        self.weight.copy_(codes)
        self.step.fill_(1.0)
        self.shift.fill_(float(shift))
        self.beta.zero_()
        # In the middle of the values that round to it, so that training starts away from the edges.
        self.mean.copy_(-bias - (0.0 if self.output == "logits" else 0.5))
        self.freeze_shift = True

    def _weight(self) -> Tensor:
        if self.training and self.ticks % TRACK_EVERY == 0:
            self.step.lerp_(self.step_of(self.weight, self.levels), 0.2)
        scaled = self.weight / self.step
        if self.mode is Mode.FLOAT:
            return self._prune(scaled)
        return self._prune(scaled + (quantize(self.weight, self.step, self.levels) - scaled).detach())

    def _whole(self, weight: Tensor) -> Tensor:
        """All weights, [out, in/groups, k, k], from those that are stored."""
        if not self.mirrored:
            return weight
        mirror = weight.flip(3)
        if self.output == "logits":
            return torch.cat([weight, mirror], 1)
        if not self.pixels:
            mirror = torch.cat([*mirror.chunk(2, 1)][::-1], 1)
        return torch.cat([weight, mirror])

    def _each(self, values: Tensor) -> Tensor:
        """Values that are stored once for both halves, repeated for every output channel: [1, out, 1, 1]."""
        return values.repeat(self.outputs // len(values)).view(1, -1, 1, 1)

    @torch.no_grad()
    def _track(self, acc: Tensor, mean: Tensor) -> None:
        self.mean.lerp_(mean, 0.05)
        self.ticks += 1
        if self.ticks % TRACK_EVERY != 1:
            return
        spread = (acc.float().pow(2).mean() - mean.float().pow(2).mean()).clamp_min(1e-6).sqrt()
        if self.spread.item() == 0:
            self.spread.copy_(spread)
        self.spread.lerp_(spread, 0.2)
        if not self.freeze_shift:
            ideal = math.log2(self.spread.item() / self.target)
            # Re-rounding at every step makes the loss jump: move only well past the halfway point.
            if abs(ideal - self.shift.item()) > 0.7:
                self.shift.fill_(max(0.0, round(ideal)))

    def fold(self, means: Tensor) -> Tensor:
        """Means of all output channels, [out], to those that are stored: both halves share theirs."""
        return means.view(-1, len(self.beta)).mean(0)

    def accumulate(self, x: Tensor, pool: Pool | None = None) -> Tensor:
        """The convolution without bias, and the max pooling after it."""
        weight = self._whole(self.integer_weight() if self.mode is Mode.CHIP else self._weight())
        acc = F.conv2d(
            x, weight.contiguous(memory_format=torch.channels_last), None, self.stride, self.padding, 1, self.groups
        )
        acc = acc[:, self.kernel_of] if self.shared else acc
        return pool(acc) if pool else acc

    def forward(self, x: Tensor, pool: Pool | None = None) -> Tensor:
        acc = self.accumulate(x, pool)
        if self.mode is Mode.CHIP:
            acc = acc + self._each(self.integer_bias())
            if self.output == "codes":
                return torch.floor(acc / 2**self.shift).clamp(0, 3)
            return torch.where(acc >= 0, 1.0, -1.0) if self.output == "bits" else acc
        scale = 2.0**-self.shift
        if self.training:
            mean = self.fold(acc.mean((0, 2, 3)).float())
            self._track(acc, mean.detach())
        else:
            mean = self.mean
        if self.output == "codes":
            offset = self._each(self.beta - mean.detach().float() * scale)
            return _Codes.apply(acc, scale.to(acc.dtype), offset.to(acc.dtype), self.training)
        y = (acc - self._each(mean)) * scale + self._each(self.beta)
        return _Sign.apply(y) if self.output == "bits" else y


class Chip(nn.Sequential):
    """A program in training: :class:`QConv` and :class:`Pool` layers over 32x32 RGB pixels, 0 to 255."""

    def stages(self) -> list[tuple[QConv, Pool | None]]:
        """Each convolution with the pooling that follows it, done before the shift: four times fewer codes to make."""
        layers = [*self, None]
        return [
            (layer, following if isinstance(following, Pool) else None)
            for layer, following in itertools.pairwise(layers)
            if isinstance(layer, QConv)
        ]

    def forward(self, x: Tensor) -> Tensor:
        for layer, pool in self.stages():
            x = layer(x, pool)
        return x

    def set_mode(self, mode: Mode) -> None:
        """Switch every layer."""
        for layer in self:
            if isinstance(layer, QConv):
                layer.mode = mode

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Compute in chip mode within the context; the mode before is restored."""
        modes = {layer: layer.mode for layer in self if isinstance(layer, QConv)}
        training = self.training
        self.eval()
        self.set_mode(Mode.CHIP)
        try:
            yield
        finally:
            self.train(training)
            for layer, mode in modes.items():
                layer.mode = mode

    @torch.no_grad()
    def settle_means(self, images: Tensor) -> None:
        """Replace every running mean by that over the images, layer after layer, with the weights as they are.

        Running means lag behind weights that still change, which has cost up to two points of accuracy.
        """
        training = self.training
        self.eval()
        values = [x.float().contiguous(memory_format=torch.channels_last) for x in images.split(512)]
        for layer, pool in self.stages():
            sums = sum(layer.accumulate(x, pool).double().mean((2, 3)).sum(0) for x in values)
            layer.mean.copy_(layer.fold(sums / len(images)))
            values = [layer(x, pool) for x in values]
        self.train(training)

    def freeze_shifts(self) -> None:
        """Fix every layer's exponent for the rest of the training."""
        for layer in self:
            if isinstance(layer, QConv):
                layer.freeze_shift = True
