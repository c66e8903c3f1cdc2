"""Train the compression program and its decoder: ``python -m patchwire_training.train_compress --photos DIR --out RUN``.

The program is fitted in closed form (`classed_fit`, or `transform_fit` for one class), and the decoder's patch synthesis with
it. Then the whole decoder is trained behind it on crops of frames, of which some show it only the first bits of each patch, the
others as 0.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from pathlib import Path

import torch
from torch import Tensor

from . import chip as model
from . import classed_fit, programs, runs, transform_fit
from .decoder import HIDDEN, PREFIXES, Decoder
from .fast_decoder import FastDecoder
from .losses import log_error, ms_ssim, seam_ratio
from .photos import Photos, to_patches
from .processor import torch_precision
from .quant import Chip, Mode

LOG_EVERY = 400
"""Steps between validations, each with a checkpoint."""

FITS = {1: transform_fit, 2: classed_fit}
"""By classes of patches."""
FAST_PATCHES = 20_000
"""To which the fast decoder's start is fitted."""
PREFIX_SHARE, PREFIX_WEIGHT = 0.25, 0.15
"""Crops of a step that are cut to a prefix, and the weight of their loss."""
LOSSES = ("prefixes", "structure", "seams")
"""Besides the error of whole latents."""
STRUCTURE_WEIGHT = 0.02
"""Of the log of what MS-SSIM lacks to 1."""
SEAM_WEIGHT = 0.1
"""Of how far the visibility of seams is from that in the originals, both in logarithms."""


CROP, BATCH = 192, 6
"""Side of a crop, and crops a step."""
SYNTHESIS_SHARE = 0.5
"""Learning rate of the patch synthesis over that of the full-frame part."""
AVERAGED = 1000
"""Steps over which the decoder's weights are averaged, with weights that fall exponentially: these are exported."""


@torch.no_grad()
def encode(chip: Chip, frames: Tensor) -> Tensor:
    """Frames [n, 3, h, w] of pixels, 0 to 255, by a chip in chip mode, to latents [n, 256, h/32, w/32] of -1/+1."""
    n, _, height, width = frames.shape
    bits = chip(to_patches(frames).contiguous(memory_format=torch.channels_last)).flatten(1)
    return bits.view(n, height // 32, width // 32, -1).permute(0, 3, 1, 2)


def cut(latents: Tensor, rng: random.Random) -> tuple[Tensor, int]:
    """The last crops of the batch cut to prefixes drawn at random, and how many crops stay whole."""
    whole = len(latents) - int(PREFIX_SHARE * len(latents))
    mask = torch.ones_like(latents)
    for i in range(whole, len(latents)):
        mask[i, rng.choice(PREFIXES) :] = 0
    return latents * mask, whole


@torch.no_grad()
def validate(chip: Chip, decoder: Decoder, crops: Tensor, patch_only: bool) -> dict[str, float]:
    """PSNR in dB of the crops as one frame, with the exact integer latents, MS-SSIM, and seams next to the originals'."""
    total, structure, seams = 0.0, [], []
    for frames in crops.split(16):
        frames = frames.float()
        latents = encode(chip, frames)
        result = decoder.patches(latents) if patch_only else decoder(latents)
        pixels = (result.clamp(0, 1) * 255).round()
        total += (pixels - frames).pow(2).mean((1, 2, 3)).sum().item()
        structure.append(ms_ssim(pixels / 255, frames / 255).item())
        seams.append((seam_ratio(pixels) / seam_ratio(frames)).item())
    return {
        "validation": 10 * math.log10(255**2 * len(crops) / total),
        "ms_ssim": sum(structure) / len(structure),
        "seams": sum(seams) / len(seams),
    }


def take_shipped(models: Path) -> tuple[Chip, Decoder]:
    """An exported pair, to go on from."""
    layers = model.parse((models / "compress.nqe").read_bytes()).layers
    first, last = layers[0], layers[-1]
    build = programs.compressor if len(layers) == 2 else programs.classed_compressor
    chip = build(len(first.weights), len(first.bias), len(last.bias))
    chip[0].kernel_of.copy_(torch.from_numpy(first.kernel_of))
    for layer, read in zip(chip, layers):
        weights = torch.from_numpy(read.weights.transpose(0, 3, 1, 2).copy())
        layer.set_integers(weights.float(), torch.from_numpy(read.bias).float(), read.shift)
    return chip, Decoder.load(models / "decoder.safetensors")


def main() -> None:
    """Train, checkpoint often, resume where the run stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--start", type=Path, help="models folder to go on from, instead of fitting anew")
    parser.add_argument("--fast", action="store_true", help="the fast decoder, behind the pair of --start")
    parser.add_argument("--frame", type=Path, help="decoder.safetensors whose full-frame part to begin with")
    parser.add_argument("--fit-patches", type=int, default=200_000, help="patches to which the program is fitted")
    parser.add_argument("--classes", type=int, choices=FITS, default=2, help="of patches that the program tells apart")
    parser.add_argument(
        "--levels", type=int, choices=(2, 3, 5), default=5, help="of the weights of the program's kernels"
    )
    parser.add_argument("--rounding", choices=("carried", "heq"), default="carried", help="of these weights")
    parser.add_argument("--without", choices=LOSSES, nargs="*", default=[], help="what the decoder is not trained for")
    parser.add_argument("--decoder-steps", type=int, default=15000)
    parser.add_argument("--lr", type=float, default=3e-4, help="peak, from which it falls along a cosine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.fast and not args.start:
        parser.error("--fast needs --start, the pair whose latents it decodes")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    train = Photos(args.photos, "train")
    held = Photos(args.photos, "validation").batch(random.Random(7), 64, CROP)

    first = 0
    state = runs.load(args.out)
    if state:
        chip = programs.compressor_like(state["chip"])
        chip.load_state_dict(state["chip"])
        decoder = (FastDecoder if args.fast else Decoder).like(state["decoder"])
        first = state["step"]
    elif args.start:
        chip, decoder = take_shipped(args.start)
        if args.fast:
            sample = train.batch(random.Random(args.seed), FAST_PATCHES, 32).float()
            chip.set_mode(Mode.CHIP)
            decoder = FastDecoder.start(decoder, encode(chip, sample).flatten(1))
    else:
        sample = train.batch(random.Random(args.seed), args.fit_patches, 32)
        recipe = FITS[args.classes]
        chip, meaning = recipe.fit(sample, levels=args.levels, carried=args.rounding == "carried")
        decoder = Decoder(hidden=HIDDEN[args.classes])
        recipe.start_decoder(decoder, chip, meaning, sample)
        if args.frame:
            decoder.load_frame(args.frame)
        chip.set_mode(Mode.CHIP)
        runs.log(args.out, {"step": 0} | validate(chip, decoder, held, patch_only=True))

    decoder.to(memory_format=torch.channels_last)
    chip.eval()
    chip.set_mode(Mode.CHIP)
    frame = [p for n, p in decoder.named_parameters() if not n.startswith(("hidden", "synthesis"))]
    synthesis = [*decoder.hidden.parameters(), *decoder.synthesis.parameters()]
    optimizer = torch.optim.Adam(
        [{"params": synthesis, "peak": SYNTHESIS_SHARE * args.lr}, {"params": frame, "peak": args.lr}]
    )
    average = copy.deepcopy(decoder)
    if first:
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
    # Without instructions for it, bf16 takes five times as long.
    mixed = torch_precision() is torch.bfloat16
    started, total = time.time(), 0.0
    for step in range(first, args.decoder_steps):
        rng = random.Random(f"{args.seed}/decoder/{step}")
        factor = min(1.0, (step + 1) / 100) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / args.decoder_steps)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        frames = train.batch(rng, BATCH, CROP).float()
        latents, whole = encode(chip, frames), BATCH
        if "prefixes" not in args.without:
            latents, whole = cut(latents, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            result = decoder(latents).float()
        target = frames / 255
        loss = log_error(result[:whole], target[:whole])
        total += loss.item()
        if "seams" not in args.without:
            seam = seam_ratio(result[:whole]) / seam_ratio(target[:whole])
            loss = loss + SEAM_WEIGHT * seam.log().abs()
        if "structure" not in args.without:
            structure = 1 - ms_ssim(result[:whole], target[:whole])
            loss = loss + STRUCTURE_WEIGHT * structure.log()
        if whole < len(latents):
            loss = loss + PREFIX_WEIGHT * log_error(result[whole:], target[whole:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), decoder.parameters()):
                mean.lerp_(weight, 1 / AVERAGED)
        if (step + 1) % LOG_EVERY == 0 or step + 1 == args.decoder_steps:
            record = {"step": step + 1, "loss": total / (step % LOG_EVERY + 1), "seconds": time.time() - started}
            total = 0.0
            runs.log(args.out, record | validate(chip, average, held, patch_only=False))
            state = {
                "chip": chip.state_dict(),
                "decoder": decoder.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step + 1,
            }
            runs.save(args.out, state)


if __name__ == "__main__":
    main()
