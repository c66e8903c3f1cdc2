"""The same network with maps that lose less in few bits.

The channels of a map may be mixed by any matrix where they are made, and by its inverse where they are read, if nothing
but additions is between: the network stays the same. Where a relu is between, the matrix is diagonal. Of C, the second
moments of the channels, and G, how much their errors count in the frame, that of their readers' weights follows by the
same with C and G exchanged: the matrix T balances both, with T' T = C^-1/2 (C^1/2 G C^1/2)^1/2 C^-1/2. A rotation on top
makes all channels and weights about as large. Compare Nagel et al., "Data-free quantization through weight equalization
and bias correction", 2019, and Chee et al., "QuIP: 2-bit quantization of large language models with guarantees", 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from .full import Full

SEED = 27
"""Of the rotations."""
FLOOR = 1e-6
"""The least eigenvalue over the largest: a channel that is always 0 is not blown up."""


@dataclass
class Probe(Full):
    """A decoder that remembers the outputs of its convolutions, and whose gradients tell how much they count."""

    outputs: dict[str, Tensor] = field(default_factory=dict)

    def convolve(self, name: str, values: Tensor) -> Tensor:
        """See :meth:`Full.convolve`."""
        self.outputs[name] = super().convolve(name, values).requires_grad_()
        self.outputs[name].retain_grad()
        return self.outputs[name]


def sensitivities(full: Full, latents: Tensor) -> dict[str, Tensor]:
    """How much an error of each output of a convolution counts: the sum of squares that it brings to the frame."""
    probe = Probe(full.program, full.stages, full.base, full.tensors)
    frames = probe.decode(latents)
    # Of independent noise on the pixels, the gradient's square is the sum of those of all pixels on average.
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(SEED))
    (frames * noise).sum().backward()
    return {name: output.grad.square().mean((0, 2, 3)) for name, output in probe.outputs.items()}


def weighed(weight: Tensor, count: Tensor) -> Tensor:
    """G of a reader's weights [out, in, k, k], whose outputs count so much: [in, in]."""
    rows = weight.transpose(1, 2).transpose(2, 3) * count.clamp_min(1e-20).sqrt().view(-1, 1, 1, 1)
    rows = rows.reshape(-1, weight.shape[1]).double()
    return rows.T @ rows


def moments(values: Tensor) -> Tensor:
    """C of maps [n, channels, h, w]."""
    flat = values.transpose(0, 1).flatten(1).double()
    return flat @ flat.T / flat.shape[1]


def power(matrix: Tensor, exponent: float) -> Tensor:
    """Of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(FLOOR * values.max()).pow(exponent)) @ vectors.T


def mixing(moment: Tensor, count: Tensor, linear: bool) -> Tensor:
    """T [channels, channels] of C and G."""
    if not linear:
        moment, count = moment.diagonal(), count.diagonal()
        floored = lambda values: values.clamp_min(FLOOR * values.max())
        return (floored(count) / floored(moment)).pow(0.25).diag()
    root, inverse = power(moment, 0.5), power(moment, -0.5)
    both = inverse @ power(root @ count @ root, 0.5) @ inverse
    generator = torch.Generator().manual_seed(SEED)
    rotation, _ = torch.linalg.qr(torch.randn(both.shape, generator=generator, dtype=torch.float64))
    return rotation @ power(both, 0.5)


def balanced(full: Full, latents: Tensor) -> Full:
    """The same network with balanced maps; those in the units of the frame stay as they are."""
    count = sensitivities(full, latents)
    with torch.no_grad():
        result = Full(full.program, full.stages, full.base, {name: value.clone() for name, value in full.tensors.items()})
        real = list(full.maps(latents))
        starts = [i for i, stage in enumerate(full.stages) if stage["kind"] in ("patch_linear", "conv")]
        for first, end in zip(starts, starts[1:]):
            if first or not full.base:
                balance_chain(result, range(first, end), real, count)
        for i, stage in enumerate(full.stages):
            if stage["kind"] == "residual":
                name = stage["name"]
                moment = moments(F.relu(full.convolve(f"{name}.conv1", real[i - 1])))
                by = mixing(moment, weighed(full.tensors[f"{name}.conv2.weight"], count[f"{name}.conv2"]), False)
                produce(result, f"{name}.conv1", by)
                consume(result, f"{name}.conv2", by)
    return result


def balance_chain(full: Full, chain: range, real: list[Tensor], count: dict[str, Tensor]) -> None:
    """Balance maps that additions join, from the layer that makes the first to the convolution that reads the last."""
    stages = full.stages
    read = {i: f"{stages[i]['name']}.conv1" for i in chain if stages[i]["kind"] == "residual"}
    read[chain[-1] + 1] = stages[chain[-1] + 1]["name"]
    counted = sum(weighed(full.tensors[f"{name}.weight"], count[name]) for name in read.values())
    moment = sum(moments(real[i - 1]) for i in read) / len(read)
    by = mixing(moment, counted, not stages[chain[0]].get("relu"))
    for name in read.values():
        consume(full, name, by)
    factor = 1
    for i in reversed(chain):
        name, kind = stages[i].get("name"), stages[i]["kind"]
        if kind == "pixel_shuffle":
            factor *= stages[i]["factor"] ** 2
        elif kind == "residual":
            produce(full, f"{name}.conv2", by, factor)
        elif kind == "patch_linear":
            produce(full, name, by, places=stages[i]["grid"] ** 2)
        else:
            produce(full, name, by, factor)


def produce(full: Full, name: str, by: Tensor, factor: int = 1, places: int = 1) -> None:
    """Mix the outputs of a layer: [places, channels, factor] of them."""
    for tensor in full.layer(name):
        split = tensor.view(places, len(by), factor, -1).double()
        tensor.copy_(torch.einsum("dc,pcfn->pdfn", by, split).reshape(tensor.shape))


def consume(full: Full, name: str, by: Tensor) -> None:
    """Mix the inputs of a convolution layer by the inverse."""
    weight = full.tensors[f"{name}.weight"]
    weight.copy_(torch.einsum("ocyx,cd->odyx", weight.double(), torch.linalg.inv(by)))
