"""Coded frames for the crate `latent`, made by the model of the codec.

``python -m patchwire_training.latents.golden --out ../latent/tests/golden``

`tiny.pwp` is a prior of 16 bits a patch with statistics that are drawn. `frames.txt` has one frame a line: camera,
container and coded frame, the last two in hex, in the order of one stream.
"""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

import numpy as np

from . import model

BITS = 16
PROGRAM = bytes(range(32))
SIZES = {"a": (320, 96), "b": (200, 130), "c": (20, 300)}
"""Pixels of the frames by camera."""
LENGTHS = [16, 16, 8, 8, 16, 16, 16, 16, 16, 16, 16, 16]
"""Bits a patch of the frames in turn."""
NOISE = 6
"""Turn in which half of the bits change."""


def prior(rng: np.random.Generator) -> bytes:
    """A file whose names, logits and weights are drawn, around those that expect a bit as on the left and as before."""
    file = struct.pack("<4s32sH", b"PWP1", PROGRAM, BITS)
    cells = np.arange(model.CELLS)
    like = [[(3, cells & 1), (5, cells >> 5 & 1)], [(3, cells >> 6), (4, cells >> 6), (5, cells & 1)]]
    for expected in like:
        shared = rng.normal(1200, 400, (model.SHARED_SETS, model.LANES)).astype("<i2")
        places = np.zeros(2 * BITS, model.PLACE)
        places["names"] = rng.integers(0, len(model.PLANES) * BITS, places["names"].shape)
        logits = rng.normal(0, 10, places["cells"].shape)
        for row, bit in expected:
            logits[:, row] += 40 * (2 * bit - 1)
        places["cells"] = logits.clip(-128, 127)
        places["weights"] = rng.normal(1500, 500, places["weights"].shape)
        file += shared.tobytes() + places.tobytes()
    return file


def frames(rng: np.random.Generator) -> list[tuple[str, model.Frame]]:
    """Frames of cameras whose patches are alike, and whose bits change more and more, with noise in between."""
    sent, last = [], {}
    for turn, length in enumerate(LENGTHS):
        for camera, (width, height) in SIZES.items():
            shape = -(-height // model.PATCH), -(-width // model.PATCH), BITS
            if camera not in last:
                last[camera] = rng.integers(0, 2, BITS) ^ (rng.random(shape) < 0.05)
            share = 0.5 if turn == NOISE else 0.015 * turn
            last[camera] = last[camera] ^ (rng.random(shape) < share)
            sent.append((camera, model.Frame(width, height, PROGRAM, last[camera][:, :, :length].astype(np.uint8))))
    return sent


def write(out: Path) -> None:
    """Write the prior and the frames."""
    rng = np.random.default_rng(28)
    file = prior(rng)
    stream = model.Stream(model.Prior(file))
    lines = [
        f"{camera} {frame.container().hex()} {stream.encode(camera, frame).hex()}\n" for camera, frame in frames(rng)
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "tiny.pwp").write_bytes(file)
    (out / "frames.txt").write_text("".join(lines))


def main() -> None:
    """Write the golden files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
