"""Write the shipped files from training runs.

``python -m patchwire_training.recipes.export --classify RUN --compress RUN --photos PHOTOS --out models``

Decoders are written in integers, for which `--photos` is needed. Their full precision stays in the run's folder, with
the program, as a start to go on from.
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
from ..models.network import Network
from ..chip.quant import Chip, Mode
from ..integers.full import Full
from .quantize import convert


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


def export_compress(run: Path, photos: Path, out: Path) -> None:
    """Write compress.nqe and decoder.safetensors, which names it."""
    state = newest(run)
    chip = load(programs.compressor_like(state["chip"]), state["chip"])
    file = nqe.to_bytes(chip, "patch256", [])
    (out / "compress.nqe").write_bytes(file)
    print("compress", json.dumps(nqe.memory_bits(chip)))
    export_decoder(run, "decoder", Decoder.like(state["average"]), chip, photos, out)


def export_fast(run: Path, photos: Path, out: Path) -> None:
    """Write fast.safetensors."""
    state = newest(run)
    chip = load(programs.compressor_like(state["chip"]), state["chip"])
    export_decoder(run, "fast", FastDecoder.like(state["average"]), chip, photos, out)


def export_decoder(run: Path, name: str, decoder: Network, chip: Chip, photos: Path, out: Path) -> None:
    """Write a decoder in full precision to the run, with its program, and in integers to `out`."""
    program = nqe.to_bytes(chip, "patch256", [])
    (run / "compress.nqe").write_bytes(program)
    decoder.save(run / f"{name}.safetensors", nqe.program_id(program))
    convert(Full.read(run / f"{name}.safetensors"), chip, photos).write(out / f"{name}.safetensors")


def main() -> None:
    """Export the named runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classify", type=Path, help="run folder of train_classify")
    parser.add_argument("--compress", type=Path, help="run folder of train_compress")
    parser.add_argument("--fast", type=Path, help="run folder of train_compress --fast")
    parser.add_argument("--photos", type=Path, help="the photographs of a decoder's training")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if (args.compress or args.fast) and not args.photos:
        parser.error("--compress and --fast need --photos")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.classify:
        export_classify(args.classify, args.out)
    if args.compress:
        export_compress(args.compress, args.photos, args.out)
    if args.fast:
        export_fast(args.fast, args.photos, args.out)


if __name__ == "__main__":
    main()
