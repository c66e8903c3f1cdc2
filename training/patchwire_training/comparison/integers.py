"""How much a decoder in integers loses next to the same one in full precision, on pictures in their true size.

``python -m patchwire_training.comparison.integers --images KODAK --full starts/shipped --models ../models``
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..fit.losses import ms_ssim, seam_ratio
from ..integers import emulation
from ..integers.full import Full
from ..integers.model import File
from ..models.decoder import BITS, PREFIXES
from ..recipes.train_compress import cut, encode, take_program

FIGURES = ("PSNR", "MS-SSIM", "seam ratio")


def figures(decode: Callable[[Tensor], Tensor], latents: Tensor, picture: Tensor) -> list[float]:
    """PSNR in dB, MS-SSIM and seam ratio of a picture [1, 3, h, w], 0 to 255, from its latents."""
    made = decode(latents)[..., : picture.shape[2], : picture.shape[3]].float()
    error = (made - picture).square().mean().item()
    return [10 * np.log10(255**2 / error), ms_ssim(made / 255, picture / 255).item(), seam_ratio(made).item()]


def in_full(decoder: Full) -> Callable[[Tensor], Tensor]:
    """The frames of a full-precision decoder as bytes, rounded half up."""
    return lambda latents: (decoder.decode(latents).clamp(0, 1) * 255 + 0.5).floor()


@torch.no_grad()
def compare(images: list[Path], full: Path, models: Path, names: list[str]) -> dict[tuple[str, int], np.ndarray]:
    """For each decoder and prefix, the mean figures of both, [2, figures]."""
    chip = take_program(full / "compress.nqe")
    pairs = {}
    for name in names:
        integers = partial(emulation.decode, File.read(models / f"{name}.safetensors"))
        pairs[name] = in_full(Full.read(full / f"{name}.safetensors")), integers
    found: dict[tuple[str, int], list] = {}
    for path in images:
        with Image.open(path) as image:
            picture = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()
        sides = (0, -picture.shape[3] % 32, 0, -picture.shape[2] % 32)
        latents = encode(chip, torch.nn.functional.pad(picture, sides, mode="replicate"))
        for name, both in pairs.items():
            for bits in (*PREFIXES, BITS):
                given = cut(latents, torch.full((1, *latents.shape[2:]), bits))
                found.setdefault((name, bits), []).append([figures(decode, given, picture) for decode in both])
    return {key: np.array(values).mean(0) for key, values in found.items()}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of PNG pictures")
    parser.add_argument("--full", type=Path, required=True, help="folder of the full-precision decoders")
    parser.add_argument("--models", type=Path, required=True, help="folder of the decoders in integers")
    parser.add_argument("--decoders", nargs="+", default=["decoder", "fast"])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    images = sorted(args.images.glob("*.png"))
    if not images:
        parser.error(f"no PNG pictures in {args.images}")
    print("| decoder | bits | " + " | ".join(f"{figure}: full | integers | lost" for figure in FIGURES) + " |")
    for (name, bits), (full, integers) in compare(images, args.full, args.models, args.decoders).items():
        columns = [f"{a:.4f} | {b:.4f} | {a - b:+.4f}" for a, b in zip(full, integers)]
        print(f"| {name} | {bits} | " + " | ".join(columns) + " |")


if __name__ == "__main__":
    main()
