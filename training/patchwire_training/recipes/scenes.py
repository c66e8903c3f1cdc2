"""A fixed camera's frames as the cloud describes scenes, for the tests of scene changes:
``python -m patchwire_training.recipes.scenes --frames DIR --models ../models --out STREET``, where `STREET` is
``../cloud-decoder/tests/data/street.png``.

`DIR` has the frames of a video as pictures in the order of their names, here `vtest.avi` of OpenCV's samples
(Apache-2.0), 768x576 (`ffmpeg -i vtest.avi DIR/%04d.png`). Each row of the picture is one frame: the shares of the
first 16 bits in a grid of 6x4 cells, then those of all bits over the whole frame, 255 for always. First come all
frames, then for each change in :data:`CHANGES` the frames from :data:`FIRST` on, :data:`COUNT` of them, changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter, ImageOps

from ..chip.quant import Chip
from ..recipes.train_compress import encode, take_program

COLUMNS, ROWS, BITS = 6, 4, 16
FIRST, COUNT = 300, 48
CHANGES = {
    "black": lambda image: Image.new("RGB", image.size),
    "dark": lambda image: image.point(lambda value: value // 2),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "mirrored": ImageOps.mirror,
    "shifted": lambda image: ImageChops.offset(image, image.width // 3, 0),
}
"""Half the light, a blur of two pixels, and a third of the width, which comes in again on the other side."""


def shares(chip: Chip, images: list[Image.Image]) -> np.ndarray:
    """Frames of one size to their rows [n, 6*4*16 + bits] u8."""
    frames = torch.from_numpy(np.stack([np.asarray(image.convert("RGB")) for image in images]))
    bits = (encode(chip, frames.permute(0, 3, 1, 2).float()) > 0).numpy()
    _, _, rows, columns = bits.shape
    row_of, column_of = np.arange(rows) * ROWS // rows, np.arange(columns) * COLUMNS // columns
    cells = [
        bits[:, :BITS, row_of == row][..., column_of == column].mean((2, 3)) for row in range(ROWS) for column in range(COLUMNS)
    ]
    return np.floor(np.concatenate([*cells, bits.mean((2, 3))], axis=1) * 255 + 0.5).astype(np.uint8)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    chip = take_program(args.models / "compress.nqe")
    images = [Image.open(path).convert("RGB") for path in sorted(args.frames.iterdir())]
    changed = [change(image) for change in CHANGES.values() for image in images[FIRST : FIRST + COUNT]]
    frames = images + changed
    rows = [shares(chip, frames[at : at + 16]) for at in range(0, len(frames), 16)]
    Image.fromarray(np.concatenate(rows)).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
