"""Train the compression program and its decoder: ``python -m patchwire_training.train_compress --photos DIR --out RUN``.

Stages, each with a cosine schedule of its own:

1. patch: the encoder against the decoder's patch synthesis alone, so that its layers become useful;
2. synthesis: the latent layer is fitted anew in closed form (`latent_fit`), then the patch synthesis to it;
3. joint: encoder and full-frame decoder on crops, in the end in float32 with frozen shifts;
4. decoder: the decoder alone, on the exact integer latents.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from . import latent_fit, programs, runs
from .decoder import Decoder
from .photos import Photos, to_patches
from .quant import Chip, Mode

FIT_PATCHES = 24_000
"""Patches to which the latent layer is fitted."""


@dataclass(frozen=True)
class Stage:
    """One stage of the recipe: steps, crop side, crops a step, peak learning rates of the three parts.

    An encoder whose rate is 0 runs as the chip does; a full-frame part whose rate is 0 is left out.
    """

    name: str
    steps: int
    crop: int
    batch: int
    encoder_lr: float
    synthesis_lr: float
    frame_lr: float

    @property
    def frozen(self) -> bool:
        return self.encoder_lr == 0

    @property
    def patches_only(self) -> bool:
        return self.frame_lr == 0


def encode(chip: Chip, frames: Tensor) -> Tensor:
    """Frames [n, 3, h, w] of pixels, 0 to 255, to latents [n, 256, h/32, w/32] of -1/+1."""
    n, _, height, width = frames.shape
    bits = chip(to_patches(frames).contiguous(memory_format=torch.channels_last)).flatten(1)
    return bits.view(n, height // 32, width // 32, -1).permute(0, 3, 1, 2)


def log_error(result: Tensor, target: Tensor) -> Tensor:
    """Log of the mean squared error over the batch, as if its crops were one frame: what decibels measure."""
    return F.mse_loss(result.float(), target).log()


@torch.no_grad()
def validate(chip: Chip, decoder: Decoder, crops: Tensor, patch_only: bool) -> float:
    """PSNR in dB of the crops as one frame, with the exact integer latents."""
    total = 0.0
    with chip.exactly():
        for frames in crops.split(16):
            frames = frames.float()
            latents = encode(chip, frames)
            result = decoder.patches(latents) if patch_only else decoder(latents)
            total += ((result.clamp(0, 1) * 255).round() - frames).pow(2).mean((1, 2, 3)).sum().item()
    return 10 * math.log10(255**2 * len(crops) / total)


def main() -> None:
    """Train, checkpoint often, resume where the run stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--start", type=Path, help="encoder weights to begin with, as in starts/")
    parser.add_argument("--patch-steps", type=int, default=6000)
    parser.add_argument("--synthesis-steps", type=int, default=2000)
    parser.add_argument("--joint-steps", type=int, default=0, help="off: has not paid yet at these rates")
    parser.add_argument("--exact-steps", type=int, default=300, help="last joint steps, in float32 with frozen shifts")
    parser.add_argument("--decoder-steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    stages = [
        Stage("patch", args.patch_steps, 32, 384, 2e-3, 1e-3, 0.0),
        Stage("synthesis", args.synthesis_steps, 32, 512, 0.0, 2e-3, 0.0),
        Stage("joint", args.joint_steps, 96, 20, 1e-4, 1e-4, 5e-4),
        Stage("decoder", args.decoder_steps, 128, 12, 0.0, 1e-4, 5e-4),
    ]
    train = Photos(args.photos, "train")
    held = Photos(args.photos, "validation").batch(random.Random(7), 64, 192)

    chip = programs.compressor().to(memory_format=torch.channels_last)
    if args.start:
        chip.load_state_dict(torch.load(args.start))
    chip.set_mode(Mode.QUANT)
    decoder = Decoder().to(memory_format=torch.channels_last)
    at, first = 0, 0
    state = runs.load(args.out)
    if state:
        chip.load_state_dict(state["chip"])
        decoder.load_state_dict(state["decoder"])
        at, first = state["stage"], state["step"]

    for index in range(at, len(stages)):
        stage = stages[index]
        weights = [p for n, p in chip.named_parameters() if n.endswith("weight")]
        betas = [p for n, p in chip.named_parameters() if n.endswith("beta")]
        synthesis = [*decoder.hidden.parameters(), *decoder.synthesis.parameters()]
        frame = [p for n, p in decoder.named_parameters() if not n.startswith(("hidden", "synthesis"))]
        optimizer = torch.optim.Adam(
            [
                {"params": weights, "peak": stage.encoder_lr},
                {"params": betas, "peak": 3 * stage.encoder_lr},
                {"params": synthesis, "peak": stage.synthesis_lr},
                {"params": frame, "peak": stage.frame_lr},
            ]
        )
        first = first if index == at else 0
        if first and state:
            optimizer.load_state_dict(state["optimizer"])
        if stage.name == "synthesis" and not first:
            sample = train.batch(random.Random(args.seed), FIT_PATCHES, 32)
            print(json.dumps({"stage": "fit", "correlation": latent_fit.fit(chip, sample)}), flush=True)
        chip.train(not stage.frozen)
        chip.set_mode(Mode.CHIP if stage.frozen else Mode.QUANT)
        started, total = time.time(), 0.0
        for step in range(first, stage.steps):
            rng = random.Random(f"{args.seed}/{stage.name}/{step}")
            exact = stage.name == "joint" and step >= stage.steps - args.exact_steps
            if exact:
                chip.freeze_shifts()
            factor = min(1.0, (step + 1) / 100) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / stage.steps)) / 2)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            frames = train.batch(rng, stage.batch, stage.crop).float()
            if stage.frozen:
                with torch.no_grad():
                    latents = encode(chip, frames)
            with torch.autocast("cpu", torch.bfloat16, enabled=not exact):
                latents = latents if stage.frozen else encode(chip, frames)
                result = decoder.patches(latents) if stage.patches_only else decoder(latents)
            loss = log_error(result, frames / 255)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
            if (step + 1) % 200 == 0 or step + 1 == stage.steps:
                record = {
                    "stage": stage.name,
                    "step": step + 1,
                    "loss": total / ((step % 200) + 1),
                    "validation": validate(chip, decoder, held, stage.patches_only),
                    "seconds": time.time() - started,
                }
                total = 0.0
                runs.log(args.out, record)
                done = step + 1 == stage.steps
                state = {
                    "chip": chip.state_dict(),
                    "decoder": decoder.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "stage": index + done,
                    "step": 0 if done else step + 1,
                }
                runs.save(args.out, state)
                if done:
                    torch.save(state, args.out / f"{stage.name}.pt")


if __name__ == "__main__":
    main()
