"""Photographs for the compression recipe: a fixed split, scaled crops.

Crops are scaled down, so that JPEG artefacts vanish and a crop shows as much of a scene as a camera frame.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

SCALES = (0.25, 0.8)
HELD_OUT = 10
"""Every tenth photograph, in the order of names, is validation."""


def split(folder: Path, part: str) -> list[Path]:
    """Photographs of "train" or "validation"."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not paths:
        raise FileNotFoundError(f"no photographs in {folder}")
    held = part == "validation"
    return [p for i, p in enumerate(paths) if (i % HELD_OUT == HELD_OUT - 1) == held]


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


class Photos:
    """Decoded photographs of one split, kept in memory."""

    def __init__(self, folder: Path, part: str):
        paths = split(folder, part)
        with ThreadPoolExecutor(2) as pool:
            self.images = list(tqdm(pool.map(_open, paths), total=len(paths), desc=f"{part} photographs"))
        self.areas = [i.width * i.height for i in self.images]

    def crop(self, rng: random.Random, size: int) -> np.ndarray:
        """One crop [size, size, 3] u8 at a random place and scale, flipped and turned at random."""
        image = rng.choices(self.images, self.areas)[0]
        side = min(size / rng.uniform(*SCALES), image.width, image.height)
        x, y = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
        crop = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, (x, y, x + side, y + side), 2.0))
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return crop.transpose(1, 0, 2) if rng.random() < 0.2 else crop

    def batch(self, rng: random.Random, count: int, size: int) -> Tensor:
        """Crops [count, 3, size, size] u8, channels last."""
        crops = np.stack([self.crop(rng, size) for _ in range(count)])
        return torch.from_numpy(crops).permute(0, 3, 1, 2)


def to_patches(frames: Tensor) -> Tensor:
    """[n, 3, 32*h, 32*w] to [n*h*w, 3, 32, 32], patches row-major."""
    n, c, height, width = frames.shape
    rows, columns = height // 32, width // 32
    patches = frames.reshape(n, c, rows, 32, columns, 32).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(n * rows * columns, c, 32, 32)
