"""Abilities of the processor."""

from __future__ import annotations

from pathlib import Path

import torch


def cpu_flags() -> set[str]:
    """Instruction sets of the processor, by Linux' names."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), ":")
    return set(flags.split(":", 1)[1].split())


def torch_precision() -> torch.dtype:
    """bf16 where it is faster than fp32: the dot products of AVX-512 alone do not make up for the conversions."""
    fast = {"amx_bf16", "bf16"} & cpu_flags()
    return torch.bfloat16 if fast else torch.float32
