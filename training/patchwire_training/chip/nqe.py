"""Writing programs: the `.nqe` format of ``docs/formats.md``, with the chip's budget enforced."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from ..chip.quant import Chip, Pool, QConv

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


def _kept(layer: QConv) -> np.ndarray:
    """Which input channels each kernel looks at, [kernels, in/groups]."""
    kernels, inputs = layer.weight.shape[:2]
    return layer.kept.cpu().numpy() if layer.pruned else np.ones((kernels, inputs), bool)


def _index_bits(layer: QConv) -> int:
    """Width of the field that names an output channel's kernel; 0 where each has its own."""
    return (len(layer.weight) - 1).bit_length() if layer.shared else 0


def _gaps(kept: np.ndarray, bits: int) -> list[int]:
    """Kept channels as fields of `bits` bits: so many to skip before the next; all ones: so many, and none is next."""
    most, fields = (1 << bits) - 1, []
    for row in kept:
        at = 0
        for channel in np.flatnonzero(row):
            while channel - at >= most:
                fields.append(most)
                at += most
            fields.append(int(channel) - at)
            at = int(channel) + 1
        fields += [most] * -((at - len(row)) // most)
    return fields


def _wiring(layer: QConv) -> tuple[int, list[int]]:
    """Width and fields of the kept channels, in the shortest form; width 0 if no channel is pruned."""
    if not layer.pruned:
        return 0, []
    kept = _kept(layer)
    return min(((bits, _gaps(kept, bits)) for bits in range(1, 11)), key=lambda coded: coded[0] * len(coded[1]))


def _sizes(layer: QConv) -> dict[str, int]:
    """Bits of a layer's weights, of its wiring, and of its biases."""
    gap_bits, gaps = _wiring(layer)
    return {
        "weights": int(_kept(layer).sum()) * layer.weight[0, 0].numel() * WEIGHT_BITS[layer.levels],
        "wiring": layer.outputs * _index_bits(layer) + gap_bits * len(gaps),
        "biases": len(layer.beta) * _signed_bits(layer.integer_bias().cpu().numpy()),
    }


def memory_bits(chip: Chip) -> dict[str, int]:
    """Bits on chip: weights, wiring, biases, shifts, largest pair of maps alive together, and their total."""
    memory = {"weights": 0, "wiring": 0, "biases": 0, "shifts": 0}
    maps = 0
    height = width = 32
    channels, kind = 3, "pixels"
    for layer in chip:
        before = height * width * channels * VALUE_BITS[kind]
        if isinstance(layer, QConv):
            kernel = layer.weight.shape[-1]
            height = (height + 2 * layer.padding - kernel) // layer.stride + 1
            width = (width + 2 * layer.padding - kernel) // layer.stride + 1
            channels, kind = layer.outputs, layer.output
            for name, size in _sizes(layer).items():
                memory[name] += size
            memory["shifts"] += 5 * (kind == "codes")
        else:
            height = (height - layer.kernel) // layer.stride + 1
            width = (width - layer.kernel) // layer.stride + 1
        maps = max(maps, before + height * width * channels * VALUE_BITS[kind])
    memory["maps"] = maps
    return memory | {"total": sum(memory.values())}


def check_budget(chip: Chip) -> dict[str, int]:
    """The memory map, or :class:`OverBudget` naming the largest layer."""
    memory = memory_bits(chip)
    if memory["total"] > BUDGET_BITS:
        sizes = {f"layer {i}": _sizes(layer)["weights"] for i, layer in enumerate(chip) if isinstance(layer, QConv)}
        largest = max(sizes, key=sizes.get)
        raise OverBudget(
            f"the program takes {memory['total']} bits on chip, {BUDGET_BITS} are there; "
            f"{largest} has the most weights, {sizes[largest]} bits"
        )
    return memory


def _layer(layer: QConv | Pool) -> bytes:
    if isinstance(layer, Pool):
        return struct.pack("<BBB", 1, layer.kernel, layer.stride)
    if layer.shared and layer.groups > 1:
        raise ValueError(f"kernels are shared with 1 group only, not with {layer.groups}: the format has no shuffle")
    if layer.mirrored and (layer.shared or layer.pruned or layer.groups > 1):
        raise ValueError("mirrored kernels are neither shared nor pruned, and in 1 group")
    weight = layer.integer_weight().cpu().numpy().astype(np.int64)
    bias = layer.integer_bias().cpu().numpy().astype(np.int64)
    bits, bias_bits, index_bits = WEIGHT_BITS[layer.levels], _signed_bits(bias), _index_bits(layer)
    gap_bits, gaps = _wiring(layer)
    header = struct.pack(
        "<BHBBBBHBBBBBHB",
        0,
        layer.outputs,
        weight.shape[2],
        weight.shape[3],
        layer.stride,
        layer.padding,
        layer.groups,
        bits,
        OUTPUTS[layer.output],
        {"codes": int(layer.shift), "bits": 0, "logits": layer.score_shift}[layer.output],
        bias_bits,
        (2 if layer.output == "logits" else 1) if layer.mirrored else 0,
        len(weight),
        gap_bits,
    )
    codes = (weight > 0).astype(np.int64) if layer.levels == 2 else weight
    # Kernel row, kernel column, kept input channel.
    stored = [code[keep].transpose(1, 2, 0).ravel() for code, keep in zip(codes, _kept(layer))]
    packed = [
        _pack(layer.kernel_of.cpu().numpy(), index_bits) if index_bits else b"",
        _pack(np.array(gaps), gap_bits) if gap_bits else b"",
        _pack(np.concatenate(stored), bits),
        _pack(bias, bias_bits),
    ]
    return header + b"".join(packed)


def to_bytes(chip: Chip, name: str, labels: list[str]) -> bytes:
    """The program file. A program with labels classifies, one without compresses."""
    check_budget(chip)
    text = lambda s: struct.pack("<B", len(s.encode())) + s.encode()
    body = text(name) + struct.pack("<HHB", 32, 32, 3)
    body += struct.pack("<H", len(labels)) + b"".join(text(label) for label in labels)
    body += struct.pack("<H", len(chip)) + b"".join(_layer(layer) for layer in chip)
    file = b"NQE1" + struct.pack("<HBBI", 3, 0 if labels else 1, 0, len(body)) + body
    return file + hashlib.sha256(file).digest()


def program_id(file: bytes) -> str:
    """The id by which frames name the program: its SHA-256, in hex."""
    return file[-32:].hex()
