"""Golden vectors for the Rust emulator, made by the integer NumPy model.

``python -m patchwire_training.chip.golden --models models --out edge-node/asic/tests/golden`` writes, for each shipped
program and for a few random ones that use every layer kind, NAME.json with patches and outputs, and the random
programs themselves.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch

from ..chip import model
from ..chip import nqe
from ..chip.quant import Chip, Mode, Pool, QConv


def settle(chip: Chip) -> Chip:
    """Train some steps on noise, so that means, steps and shifts leave their initial values; then set chip mode."""
    chip.train()
    chip.set_mode(Mode.QUANT)
    for _ in range(40):
        chip(torch.randint(0, 256, (16, 3, 32, 32)).float())
    chip.eval()
    chip.set_mode(Mode.CHIP)
    return chip


def random_chips() -> dict[str, tuple[Chip, list[str]]]:
    """Small untrained programs that together use every kind of weight, output, group, stride, pool and kernel."""
    torch.manual_seed(11)
    chips = {
        "random-bits": (
            Chip(
                QConv(3, 12, 3, stride=2, padding=1, levels=5, pixels=True),
                QConv(12, 16, 3, padding=1, groups=4, levels=3),
                Pool(2),
                QConv(16, 8, 2, stride=2, levels=2, output="bits"),
            ),
            [],
        ),
        "random-wiring": (
            Chip(
                QConv(3, 20, 4, stride=4, levels=5, pruned=True, pixels=True),
                QConv(20, 24, 3, padding=1, groups=2, levels=2, pruned=True),
                QConv(24, 70, 8, kernels=9, levels=3),
                QConv(70, 16, 1, pruned=True, levels=3, output="bits"),
            ),
            [],
        ),
        "random-mirror": (
            Chip(
                QConv(3, 10, 3, padding=1, levels=5, mirrored=True, pixels=True),
                Pool(2),
                QConv(10, 12, 3, padding=1, levels=2, mirrored=True),
                Pool(4),
                QConv(12, 5, 4, levels=3, mirrored=True, output="logits"),
            ),
            ["up", "down", "left", "right", "none"],
        ),
        "random-logits": (
            Chip(
                QConv(3, 6, 5, padding=2, levels=2, pixels=True),
                Pool(3, 2),
                QConv(6, 10, 4, stride=3, padding=1, groups=2, levels=5),
                Pool(2, 1),
                QConv(10, 4, 4, levels=3, output="logits"),
            ),
            ["north", "east", "south", "west"],
        ),
    }
    for layers, _ in chips.values():
        for layer in layers:
            if isinstance(layer, QConv) and layer.shared:
                layer.kernel_of.copy_(torch.randint(0, len(layer.weight), layer.kernel_of.shape))
            if isinstance(layer, QConv) and layer.pruned:
                layer.kept.copy_(torch.rand(layer.kept.shape) < 0.3)
        settle(layers)
    return chips


def patches(seed: int, count: int) -> np.ndarray:
    """Test patches [n, 32, 32, 3] u8: noise, flat extremes and smooth ramps."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.arange(32) * 4, np.arange(32) * 3)[..., None] + np.array([0, 20, 40])
    fixed = [np.zeros((32, 32, 3)), np.full((32, 32, 3), 255), np.clip(ramp, 0, 255)]
    smooth = [np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1))) for _ in range((count - 3) // 2)]
    noise = [rng.integers(0, 256, (32, 32, 3)) for _ in range(count - 3 - len(smooth))]
    return np.stack(fixed + smooth + noise).astype(np.uint8)


def write(path: Path, out: Path) -> None:
    """The vectors of one program file."""
    program = model.parse(path.read_bytes())
    inputs = patches(3, 8)
    results = [model.run(program, p) for p in inputs]
    vectors: dict = {"program": os.path.relpath(path, out), "pixels": [p.tobytes().hex() for p in inputs]}
    if program.task == 1:
        vectors["bits"] = [model.pack_bits(r).hex() for r in results]
    else:
        vectors["logits"] = [[int(v) for v in r] for r in results]
    (out / f"{path.stem}.json").write_text(json.dumps(vectors, indent=1) + "\n")


def main() -> None:
    """Write every golden file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with the shipped .nqe files")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, (layers, labels) in random_chips().items():
        path = args.out / f"{name}.nqe"
        path.write_bytes(nqe.to_bytes(layers, name, labels))
        write(path, args.out)
    for path in sorted(args.models.glob("*.nqe")):
        write(path, args.out)


if __name__ == "__main__":
    main()
