"""Write a decoder in integers, which `patchwire` runs, from one in full precision.

``python -m patchwire_training.recipes.quantize --decoder starts/shipped/decoder.safetensors
--program ../models/compress.nqe --photos PHOTOS --out ../models/decoder.safetensors``

The ranges of its maps are those that it makes of validation photographs, of whole latents and of prefixes.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from torch import Tensor

from ..chip import nqe
from ..chip.quant import Chip
from ..data.photos import Photos
from ..integers.balance import balanced
from ..integers.full import Full
from ..integers.model import File
from ..integers.quantize import quantize
from .train_compress import cut, encode, take_program

CROPS, SIDE = 40, 256
"""Of the photographs, and their pixels along a side."""
SEED = 7


def examples(chip: Chip, full: Full, photos: Path) -> Tensor:
    """Latents [n, bits, rows, columns] of crops."""
    crops = Photos(photos, "validation").batch(random.Random(SEED), CROPS, SIDE).float()
    return shortened(encode(chip, crops), full.stages[0])


def shortened(latents: Tensor, stage: dict) -> Tensor:
    """Latents of which a quarter is whole, a quarter has the same prefix in all patches, a half one drawn for each."""
    whole, lengths = stage["bits"], torch.tensor([*stage.get("prefixes", []), stage["bits"]])
    drawn = torch.randint(len(lengths), (len(latents), *latents.shape[2:]), generator=torch.Generator().manual_seed(SEED))
    prefixes = lengths[drawn]
    prefixes[::4] = whole
    for i in range(2, len(latents), 4):
        prefixes[i] = lengths[i // 4 % len(lengths)]
    return cut(latents, prefixes)


def convert(full: Full, chip: Chip, photos: Path) -> File:
    """The decoder in integers, with the photographs in `photos` coded by `chip`."""
    latents = examples(chip, full, photos)
    return quantize(balanced(full, latents), latents)


def main() -> None:
    """Convert one decoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decoder", type=Path, required=True, help="in full precision (patchwire-decoder-1)")
    parser.add_argument("--program", type=Path, required=True, help="whose latents it decodes")
    parser.add_argument("--photos", type=Path, required=True, help="the photographs of its training")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    full = Full.read(args.decoder)
    program = nqe.program_id(args.program.read_bytes())
    if full.program != program:
        parser.error(f"{args.decoder} decodes latents of program {full.program}, {args.program} is {program}")
    convert(full, take_program(args.program), args.photos).write(args.out)


if __name__ == "__main__":
    main()
