"""An integer NumPy model of the chip that reads `.nqe` files.

Written from ``docs/formats.md`` alone, independent of the trainer and of the Rust emulator, so that the three
can be compared. Plain loops over kernel positions, int64 accumulators, no floats.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


class BadProgram(ValueError):
    """The file is not a program."""


@dataclass
class Conv:
    """Weights [kernels, kh, kw, in/groups], 0 where pruned, each channel's kernel [out] and bias [out], as integers.

    All of them, also where the file holds one half and the other half mirrors it.
    """

    weights: np.ndarray
    kernel_of: np.ndarray
    bias: np.ndarray
    stride: int
    padding: int
    groups: int
    output: int
    shift: int


@dataclass
class MaxPool:
    """Square max pooling without padding."""

    kernel: int
    stride: int


@dataclass
class Program:
    """A parsed program."""

    task: int
    name: str
    labels: list[str]
    layers: list[Conv | MaxPool]


class _Reader:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise BadProgram(f"the file ends at byte {len(self.data)}, {self.at + count} are needed")
        self.at += count
        return self.data[self.at - count : self.at]

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        return self.take(self.uint(1)).decode()

    def fields(self, count: int, bits: int) -> np.ndarray:
        """`count` unsigned fields of `bits` bits."""
        stream = np.frombuffer(self.take((count * bits + 7) // 8), np.uint8)
        ones = np.unpackbits(stream, bitorder="little")[: count * bits].reshape(count, bits).astype(np.int64)
        return (ones << np.arange(bits)).sum(axis=1)


def _signed(fields: np.ndarray, bits: int) -> np.ndarray:
    return np.where(fields >= 1 << (bits - 1), fields - (1 << bits), fields)


def parse(data: bytes) -> Program:
    """Read a program file; :class:`BadProgram` when it is not one."""
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        raise BadProgram("the digest does not match")
    read = _Reader(data[:-32])
    if read.take(4) != b"NQE1" or read.uint(2) != 3:
        raise BadProgram("not a version 3 program")
    task, _, _ = read.uint(1), read.uint(1), read.uint(4)
    name = read.text()
    if (read.uint(2), read.uint(2), read.uint(1)) != (32, 32, 3):
        raise BadProgram("the input is not 32x32x3")
    labels = [read.text() for _ in range(read.uint(2))]
    layers: list[Conv | MaxPool] = []
    channels, pixels = 3, True
    for _ in range(read.uint(2)):
        if read.uint(1) == 1:
            layers.append(MaxPool(read.uint(1), read.uint(1)))
            continue
        layers.append(_conv(read, channels, pixels))
        channels = len(layers[-1].bias)
        pixels = False
    return Program(task, name, labels, layers)


def _kept(read: _Reader, bits: int, kernels: int, inputs: int) -> np.ndarray:
    """Which input channels each kernel looks at, [kernels, inputs]: gaps between them in fields of `bits` bits."""
    kept = np.zeros((kernels, inputs), bool)
    most, held, spare = (1 << bits) - 1, 0, 0
    for row in kept:
        at = 0
        while at < inputs:
            while spare < bits:
                held |= read.uint(1) << spare
                spare += 8
            gap, held, spare = held & most, held >> bits, spare - bits
            at += gap
            if gap < most:
                if at >= inputs:
                    raise BadProgram(f"input channel {at} is kept, {inputs} are there")
                row[at] = True
                at += 1
    return kept


def _conv(read: _Reader, channels: int, pixels: bool) -> Conv:
    out, kh, kw = read.uint(2), read.uint(1), read.uint(1)
    stride, padding, groups = read.uint(1), read.uint(1), read.uint(2)
    weight_bits, output, shift, bias_bits = (read.uint(1) for _ in range(4))
    mirror, kernels, gap_bits = read.uint(1), read.uint(2), read.uint(1)
    inputs = channels // groups // (2 if mirror == 2 else 1)
    shared = kernels < out and kernels > 1 and not mirror
    kernel_of = np.arange(out) % kernels
    if shared:
        kernel_of = read.fields(out, (kernels - 1).bit_length())
    kept = _kept(read, gap_bits, kernels, inputs) if gap_bits else np.ones((kernels, inputs), bool)
    codes = read.fields(int(kept.sum()) * kh * kw, weight_bits)
    weights = np.zeros((kernels, kh, kw, inputs), np.int64)
    places = np.broadcast_to(kept[:, None, None, :], weights.shape)
    weights[places] = 2 * codes - 1 if weight_bits == 1 else _signed(codes, weight_bits)
    bias = _signed(read.fields(kernels if mirror == 1 else out, bias_bits), bias_bits)
    image = weights[:, :, ::-1]
    if mirror == 1:
        image = image if pixels else np.roll(image, inputs // 2, axis=3)
        weights, kernel_of, bias = np.concatenate([weights, image]), np.arange(out), np.tile(bias, 2)
    elif mirror == 2:
        weights = np.concatenate([weights, image], axis=3)
    return Conv(weights, kernel_of, bias, stride, padding, groups, output, shift)


def _accumulate(layer: Conv, x: np.ndarray) -> np.ndarray:
    p, s = layer.padding, layer.stride
    x = np.pad(x, ((p, p), (p, p), (0, 0)))
    out, kh, kw, inputs = layer.weights.shape
    rows, columns = (x.shape[0] - kh) // s + 1, (x.shape[1] - kw) // s + 1
    sums = np.zeros((rows, columns, out), np.int64)
    each = out // layer.groups
    for g in range(layer.groups):
        mine, theirs = slice(g * each, (g + 1) * each), slice(g * inputs, (g + 1) * inputs)
        for dy in range(kh):
            for dx in range(kw):
                window = x[dy : dy + rows * s : s, dx : dx + columns * s : s, theirs][:rows, :columns]
                sums[:, :, mine] += window @ layer.weights[mine, dy, dx].T
    return sums[:, :, layer.kernel_of] + layer.bias


def run(program: Program, pixels: np.ndarray) -> np.ndarray:
    """One patch [32, 32, 3] u8 to latent bits (row, column, channel order) or logits, both flat."""
    x = pixels.astype(np.int64)
    for layer in program.layers:
        if isinstance(layer, MaxPool):
            k, s = layer.kernel, layer.stride
            rows, columns = (x.shape[0] - k) // s + 1, (x.shape[1] - k) // s + 1
            views = [
                x[i : i + rows * s : s, j : j + columns * s : s][:rows, :columns] for i in range(k) for j in range(k)
            ]
            x = np.max(views, axis=0)
            continue
        acc = _accumulate(layer, x)
        if layer.output == 0:
            x = np.clip(acc >> layer.shift, 0, 3)
        else:
            x = (acc >= 0).astype(np.int64) if layer.output == 1 else acc
    return x.ravel()


def pack_bits(bits: np.ndarray) -> bytes:
    """Latent bits as packed bytes: bit i is in byte i / 8, from the least significant bit on."""
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()
