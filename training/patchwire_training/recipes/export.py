"""Write the shipped files from training runs.

``python -m patchwire_training.recipes.export --classify RUN --compress RUN --out models``
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch

from ..chip import nqe
from ..fit import runs
from ..models import programs
from ..data.cifar10 import LABELS
from ..models.decoder import Decoder
from ..models.fast_decoder import FastDecoder
from ..chip.quant import Chip, Mode


def newest(run: Path) -> dict:
    """The newest checkpoint of the run."""
    state = runs.load(run)
    if state is None:
        raise FileNotFoundError(f"{run} has no checkpoint: train first")
    return state


def load(module: torch.nn.Module, weights: dict) -> torch.nn.Module:
    """The module with these weights, ready to compute as exported."""
    module.load_state_dict(weights)
    if isinstance(module, Chip):
        module.set_mode(Mode.CHIP)
    return module.eval()


def export_classify(run: Path, out: Path) -> None:
    """Write classify.nqe."""
    state = newest(run)
    chip = load(programs.classifier(programs.TABLES[state["table"]]), state["chip"])
    # The loss saw logits * 2^-shift * e^gain: the power of two nearest to that is what scores divide by.
    gain = state["gain"].item()
    chip[-1].score_shift = max(0, round(chip[-1].shift.item() - gain / math.log(2)))
    (out / "classify.nqe").write_bytes(nqe.to_bytes(chip, "cifar10", LABELS))
    print("classify", json.dumps(nqe.memory_bits(chip)))


def export_compress(run: Path, out: Path) -> None:
    """Write compress.nqe and decoder.safetensors, which names it."""
    state = newest(run)
    chip = load(programs.compressor_like(state["chip"]), state["chip"])
    file = nqe.to_bytes(chip, "patch256", [])
    (out / "compress.nqe").write_bytes(file)
    Decoder.like(state["average"]).save(out / "decoder.safetensors", nqe.program_id(file))
    print("compress", json.dumps(nqe.memory_bits(chip)))


def export_fast(run: Path, out: Path) -> None:
    """Write fast.safetensors."""
    state = newest(run)
    chip = load(programs.compressor_like(state["chip"]), state["chip"])
    program = nqe.program_id(nqe.to_bytes(chip, "patch256", []))
    FastDecoder.like(state["average"]).save(out / "fast.safetensors", program)


def main() -> None:
    """Export the named runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classify", type=Path, help="run folder of train_classify")
    parser.add_argument("--compress", type=Path, help="run folder of train_compress")
    parser.add_argument("--fast", type=Path, help="run folder of train_compress --fast")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.classify:
        export_classify(args.classify, args.out)
    if args.compress:
        export_compress(args.compress, args.out)
    if args.fast:
        export_fast(args.fast, args.out)


if __name__ == "__main__":
    main()
