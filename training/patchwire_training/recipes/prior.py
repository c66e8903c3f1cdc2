"""The prior of the latent codec for a compression program:
``python -m patchwire_training.recipes.prior --program ../models/compress.nqe --photos PHOTOS --video VIDEO
--out ../models/compress.pwp``.

The program encodes the training photographs at half their size, as cameras would see them, and the first frames of the
video. `patchwire fit-prior` then fits the prior to these latents.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from tqdm import tqdm

from ..comparison.engines import patchwire
from ..data.photos import split

SCALE = 2
"""Of the photographs."""
FRAMES = 300
"""Of the video."""


def encode(program: Path, pictures: list[Path], out: Path) -> None:
    """Write the latents of pictures."""
    out.mkdir()
    for picture in tqdm(pictures, out.name):
        patchwire("encode", picture, "--program", program, "--output", out / f"{picture.stem}.pwl")


def main() -> None:
    """Encode the examples and fit the prior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        pictures, frames = Path(folder) / "pictures", Path(folder) / "frames"
        pictures.mkdir()
        frames.mkdir()
        for path in split(args.photos, "train"):
            with Image.open(path) as image:
                size = round(image.width / SCALE), round(image.height / SCALE)
                image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(pictures / f"{path.stem}.ppm")
        ffmpeg = ["ffmpeg", "-loglevel", "error", "-i", args.video, "-frames:v", str(FRAMES), frames / "%04d.ppm"]
        subprocess.run(ffmpeg, check=True)
        for name, taken in ("stills", pictures), ("video", frames):
            encode(args.program, sorted(taken.iterdir()), Path(folder) / name)
        print(patchwire("fit-prior", "--stills", f"{folder}/stills", "--video", f"{folder}/video", "-o", args.out), end="")


if __name__ == "__main__":
    main()
