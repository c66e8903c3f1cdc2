"""Train the compression program and its decoder.

``python -m patchwire_training.recipes.train_compress --photos DIR --out RUN``

The program is fitted in closed form (`classed_fit`, or `transform_fit` for one class), and the decoder's patch
synthesis with it. Then the whole decoder is trained behind it on crops of frames. In a third of them each patch has a
prefix of its own, longer where the patch is busier, with 0 for the bits behind it, as in frames with a bit budget.
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

from ..chip import model
from ..fit import classed_fit, runs, transform_fit
from ..models import programs
from ..models.decoder import BITS, HIDDEN, PREFIXES, Decoder
from ..models.fast_decoder import FastDecoder
from ..fit.start import start_decoder
from ..fit.losses import log_error, ms_ssim, seam_ratio
from ..data.photos import Photos, to_patches
from ..fit.processor import torch_precision
from ..chip.quant import Chip, Mode

LOG_EVERY = 400
"""Steps between validations, each with a checkpoint."""

FITS = {1: transform_fit, 2: classed_fit}
"""By classes of patches."""
ANEW = Path()
"""In place of the file of a fast decoder."""
FAST_PATCHES = 20_000
"""To which the fast decoder's start is fitted."""
PREFIX_SHARE, PREFIX_WEIGHT = 0.34, 0.4
"""Crops of a step whose patches are cut to prefixes, and the weight of their loss."""
PREFIX_STEP = 32
"""Prefixes of mixed frames are multiples of this many bits."""
BUDGET, SPREAD, LUCK = (48, 256), (0, 110), 0.5
"""Of mixed frames: mean bits per patch, bits per standard deviation of activity, and the random share of that."""
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


def activity(frames: Tensor) -> Tensor:
    """Log of each patch's variance, [n, h/32, w/32], as multiples of a frame's standard deviation from its mean."""
    patches = to_patches(frames).flatten(2)
    logs = (patches.var(2).mean(1) + 1).log().view(len(frames), frames.shape[2] // 32, -1)
    spread = logs.std((1, 2), keepdim=True).clamp_min(1e-3)
    return (logs - logs.mean((1, 2), keepdim=True)) / spread


def mixed_prefixes(frames: Tensor, rng: random.Random) -> Tensor:
    """A prefix in bits for each patch, [n, h/32, w/32], longer for busy patches; mean and spread vary by frame."""
    busy = activity(frames)
    draw = lambda low, high: torch.tensor([rng.uniform(low, high) for _ in frames]).view(-1, 1, 1)
    noise = torch.tensor([rng.gauss(0, 1) for _ in range(busy.numel())]).view_as(busy)
    lengths = draw(*BUDGET) + draw(*SPREAD) * (busy * (1 - LUCK) + noise * LUCK)
    return (lengths / PREFIX_STEP).round().mul(PREFIX_STEP).clamp(PREFIX_STEP, BITS)


def cut(latents: Tensor, prefixes: Tensor) -> Tensor:
    """Latents [n, 256, rows, columns] with 0 behind each patch's prefix [n, rows, columns]."""
    return latents * (torch.arange(BITS).view(1, -1, 1, 1) < prefixes.unsqueeze(1))


def shorten(latents: Tensor, frames: Tensor, rng: random.Random) -> tuple[Tensor, int]:
    """The last crops of the batch cut, one of them to one prefix for all its patches, and how many crops stay whole."""
    whole = len(latents) - int(PREFIX_SHARE * len(latents))
    prefixes = mixed_prefixes(frames, rng)
    prefixes[:whole] = BITS
    if whole < len(latents):
        prefixes[-1] = rng.choice(PREFIXES)
    return cut(latents, prefixes), whole


@torch.no_grad()
def validate(chip: Chip, decoder: Decoder, crops: Tensor, patch_only: bool) -> dict[str, float]:
    """PSNR in dB of the crops as one frame, with the exact integer latents, MS-SSIM, and seams next to the originals'.

    `mixed` and `mixed_seams` are the PSNR and the seams of the same crops with prefixes that are the same at each
    validation.
    """
    total, mixed, structure, seams, mixed_seams = 0.0, 0.0, [], [], []
    rng = random.Random(8)
    for frames in crops.split(16):
        frames = frames.float()
        latents = encode(chip, frames)
        result = decoder.patches(latents) if patch_only else decoder(latents)
        pixels = (result.clamp(0, 1) * 255).round()
        total += (pixels - frames).pow(2).mean((1, 2, 3)).sum().item()
        structure.append(ms_ssim(pixels / 255, frames / 255).item())
        seams.append((seam_ratio(pixels) / seam_ratio(frames)).item())
        if not patch_only:
            result = decoder(cut(latents, mixed_prefixes(frames, rng)))
            pixels = (result.clamp(0, 1) * 255).round()
            mixed += (pixels - frames).pow(2).mean((1, 2, 3)).sum().item()
            mixed_seams.append((seam_ratio(pixels) / seam_ratio(frames)).item())
    decibels = lambda error: 10 * math.log10(255**2 * len(crops) / error)
    record = {
        "validation": decibels(total),
        "ms_ssim": sum(structure) / len(structure),
        "seams": sum(seams) / len(seams),
    }
    if not patch_only:
        record |= {"mixed": decibels(mixed), "mixed_seams": sum(mixed_seams) / len(mixed_seams)}
    return record


def take_program(file: Path) -> Chip:
    """Read an exported program, in chip mode."""
    layers = model.parse(file.read_bytes()).layers
    first, last = layers[0], layers[-1]
    build = programs.compressor if len(layers) == 2 else programs.classed_compressor
    chip = build(len(first.weights), len(first.bias), len(last.bias))
    chip[0].kernel_of.copy_(torch.from_numpy(first.kernel_of))
    for layer, read in zip(chip, layers):
        weights = torch.from_numpy(read.weights.transpose(0, 3, 1, 2).copy())
        layer.set_integers(weights.float(), torch.from_numpy(read.bias).float(), read.shift)
    chip.set_mode(Mode.CHIP)
    return chip.eval()


def take_pair(folder: Path) -> tuple[Chip, Decoder]:
    """Read a program and its decoder in full precision, to continue from."""
    return take_program(folder / "compress.nqe"), Decoder.load(folder / "decoder.safetensors")


def main() -> None:
    """Train, checkpoint often, resume where the run stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--start", type=Path, help="folder of an exported run to go on from, instead of fitting anew")
    parser.add_argument(
        "--fast", type=Path, nargs="?", const=ANEW, help="the fast decoder, behind the pair of --start; anew, or from a file"
    )
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
        chip, decoder = take_pair(args.start)
        if args.fast:
            if args.fast is ANEW:
                sample = train.batch(random.Random(args.seed), FAST_PATCHES, 32).float()
                decoder = FastDecoder.start(decoder, encode(chip, sample).flatten(1))
            else:
                decoder = FastDecoder.load(args.fast)
    else:
        sample = train.batch(random.Random(args.seed), args.fit_patches, 32)
        recipe = FITS[args.classes]
        chip, meaning = recipe.fit(sample, levels=args.levels, carried=args.rounding == "carried")
        decoder = Decoder(hidden=HIDDEN[args.classes])
        start_decoder(decoder, chip, meaning if args.classes > 1 else [meaning], sample)
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
            latents, whole = shorten(latents, frames, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            result = decoder(latents).float()
        target = frames / 255
        loss = log_error(result[:whole], target[:whole])
        total += loss.item()
        if whole < len(latents):
            loss = loss + PREFIX_WEIGHT * log_error(result[whole:], target[whole:])
        for part in (slice(whole), slice(whole, None))[: 1 + (whole < len(latents))]:
            if "seams" not in args.without:
                seam = seam_ratio(result[part]) / seam_ratio(target[part])
                loss = loss + SEAM_WEIGHT * seam.log().abs()
            if "structure" not in args.without:
                structure = 1 - ms_ssim(result[part], target[part])
                loss = loss + STRUCTURE_WEIGHT * structure.log()
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
