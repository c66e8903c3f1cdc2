"""Writing programs: the `.nqe` format of ``docs/formats.md``, with the chip's budget enforced."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from .quant import Chip, Pool, QConv

BUDGET_BITS = 1_048_576
WEIGHT_BITS = {2: 1, 3: 2, 5: 3}
OUTPUTS = {"codes": 0, "bits": 1, "logits": 2}
VALUE_BITS = {"pixels": 8, "codes": 2, "bits": 1, "logits": 32}


class OverBudget(ValueError):
    """The program does not fit the chip."""


def _pack(values: np.ndarray, bits: int) -> bytes:
    """Two's complement fields of `bits` bits, filled from each byte's least significant bit."""
    fields = (values.reshape(-1, 1).astype(np.int64) >> np.arange(bits)) & 1
    return np.packbits(fields.astype(np.uint8).ravel(), bitorder="little").tobytes()


def _signed_bits(values: np.ndarray) -> int:
    """Smallest two's complement width that holds every value."""
    return max(max(int(v), ~int(v)).bit_length() + 1 for v in (values.min(), values.max()))


def memory_bits(chip: Chip) -> dict[str, int]:
    """Bits on chip: weights, biases, shifts, largest pair of maps alive together, and their total."""
    weights = biases = shifts = maps = 0
    height = width = 32
    channels, kind = 3, "pixels"
    for layer in chip:
        before = height * width * channels * VALUE_BITS[kind]
        if isinstance(layer, QConv):
            out, _, kernel, _ = layer.weight.shape
            height = (height + 2 * layer.padding - kernel) // layer.stride + 1
            width = (width + 2 * layer.padding - kernel) // layer.stride + 1
            channels, kind = out, layer.output
            weights += layer.weight.numel() * WEIGHT_BITS[layer.levels]
            biases += out * _signed_bits(layer.integer_bias().cpu().numpy())
            shifts += 5 * (kind == "codes")
        else:
            height = (height - layer.kernel) // layer.stride + 1
            width = (width - layer.kernel) // layer.stride + 1
        maps = max(maps, before + height * width * channels * VALUE_BITS[kind])
    return {
        "weights": weights,
        "biases": biases,
        "shifts": shifts,
        "maps": maps,
        "total": weights + biases + shifts + maps,
    }


def check_budget(chip: Chip) -> dict[str, int]:
    """The memory map, or :class:`OverBudget` naming the largest layer."""
    memory = memory_bits(chip)
    if memory["total"] > BUDGET_BITS:
        sizes = {
            f"layer {i}": layer.weight.numel() * WEIGHT_BITS[layer.levels]
            for i, layer in enumerate(chip)
            if isinstance(layer, QConv)
        }
        largest = max(sizes, key=sizes.get)
        raise OverBudget(
            f"the program takes {memory['total']} bits on chip, {BUDGET_BITS} are there; "
            f"{largest} has the most weights, {sizes[largest]} bits"
        )
    return memory


def _layer(layer: QConv | Pool) -> bytes:
    if isinstance(layer, Pool):
        return struct.pack("<BBB", 1, layer.kernel, layer.stride)
    weight = layer.integer_weight().cpu().numpy().astype(np.int64).transpose(0, 2, 3, 1)
    bias = layer.integer_bias().cpu().numpy().astype(np.int64)
    bits = WEIGHT_BITS[layer.levels]
    bias_bits = _signed_bits(bias)
    header = struct.pack(
        "<BHBBBBHBBBB",
        0,
        weight.shape[0],
        weight.shape[1],
        weight.shape[2],
        layer.stride,
        layer.padding,
        layer.groups,
        bits,
        OUTPUTS[layer.output],
        {"codes": int(layer.shift), "bits": 0, "logits": layer.score_shift}[layer.output],
        bias_bits,
    )
    codes = (weight > 0).astype(np.int64) if layer.levels == 2 else weight
    return header + _pack(codes, bits) + _pack(bias, bias_bits)


def to_bytes(chip: Chip, name: str, labels: list[str]) -> bytes:
    """The program file. A program with labels classifies, one without compresses."""
    check_budget(chip)
    text = lambda s: struct.pack("<B", len(s.encode())) + s.encode()
    body = text(name) + struct.pack("<HHB", 32, 32, 3)
    body += struct.pack("<H", len(labels)) + b"".join(text(label) for label in labels)
    body += struct.pack("<H", len(chip)) + b"".join(_layer(layer) for layer in chip)
    file = b"NQE1" + struct.pack("<HBBI", 1, 0 if labels else 1, 0, len(body)) + body
    return file + hashlib.sha256(file).digest()


def program_id(file: bytes) -> str:
    """The id by which frames name the program: its SHA-256, in hex."""
    return file[-32:].hex()
