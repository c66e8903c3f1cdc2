"""Video codecs at the quality of the latents, as streams that ``patchwire evaluate --video --peers`` measures.

``python -m patchwire_training.comparison.video_peers --video FILE --figures FIGURES --out PEERS`` codes the frames that
FIGURES, the JSON of ``patchwire evaluate --video FILE``, was measured on, with ffmpeg:

- ``mjpeg``: each frame as a JPEG by itself, 4:2:0, with Huffman tables made for it;
- ``x264``: H.264 by libx264 without latency: ``-tune zerolatency`` has neither B-frames nor a look-ahead, so that each
  frame leaves before the next one comes. One picture in 250 is a key frame.

Each codec is run at the qualities whose PSNR, as a mean over the frames, is next to that of each rate in FIGURES, found
by bisection; at a rate that it does not come near, it is left out. It writes each elementary stream to
PEERS/CODEC-BITS.ENDING and, last, PEERS/peers.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

# Most dB between a codec and the rate that it is compared with.
TOLERANCE = 0.3
# Frames are numbered as if they came at a constant rate, in units of that rate.
RENUMBER = "settb=1/25,setpts=N"


@dataclass(frozen=True)
class Codec:
    """A codec of ffmpeg. `qualities` are arguments of `option`, from the worst picture to the best."""

    name: str
    ending: str
    options: tuple[str, ...]
    option: str
    qualities: Sequence[float]

    def arguments(self, quality: float) -> list[str]:
        return [*self.options, self.option, f"{quality:g}"]


CODECS = (
    Codec("mjpeg", "mjpeg", ("-c:v", "mjpeg", "-huffman", "optimal", "-qmax", "1000"), "-q:v", range(1000, 1, -1)),
    Codec(
        "x264",
        "h264",
        ("-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-threads", "1", "-pix_fmt", "yuv420p"),
        "-crf",
        [crf / 10 for crf in range(510, -1, -1)],
    ),
)


def ffmpeg(*arguments: str) -> list[str]:
    return ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments]


@contextmanager
def frames(source: list[str], video_filter: str, width: int, height: int) -> Iterator[Iterator[np.ndarray]]:
    """The frames of a video that a filter passes, each [height, width, 3] of RGB, one after the other."""
    shape = ["-vf", f"{video_filter},{RENUMBER}", "-r", "25", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    with subprocess.Popen(ffmpeg(*source, "-an", "-sn", *shape, "-"), stdout=subprocess.PIPE) as process:
        parts = iter(partial(process.stdout.read, 3 * width * height), b"")
        yield (np.frombuffer(part, np.uint8).reshape(height, width, 3) for part in parts)
        process.stdout.close()
    if process.returncode:
        sys.exit(f"ffmpeg cannot read {source[-1]}")


@dataclass(frozen=True)
class Taken:
    """The frames of a video that ``patchwire evaluate`` took, by ffmpeg's filter."""

    video: Path
    selection: str
    width: int
    height: int
    count: int

    @classmethod
    def of(cls, video: Path, figures: dict) -> Taken:
        """The frames that `figures` were measured on."""
        if "video" not in figures:
            sys.exit("these figures are not of a video; patchwire evaluate --video FILE --json FIGURES makes them")
        sizes = {(image["width"], image["height"]) for image in figures["images"]}
        if len(sizes) != 1:
            sys.exit(f"frames of a video need one size, these have {len(sizes)}")
        return cls(video, figures["video"]["filter"], *sizes.pop(), figures["video"]["frames"])

    def code(self, codec: Codec, folder: Path, quality: float) -> Path:
        """The stream of a codec at a quality, in `folder`."""
        path = folder / f"{codec.name}-{quality:g}.{codec.ending}"
        if not path.exists():
            taken = ["-i", str(self.video), "-an", "-sn", "-vf", f"{self.selection},{RENUMBER}", "-r", "25"]
            subprocess.run(ffmpeg(*taken, *codec.arguments(quality), str(path)), check=True)
        return path

    def psnr(self, stream: Path) -> float:
        """Mean over the frames of the PSNR in dB of `stream`."""
        size, total, count = (self.width, self.height), 0.0, 0
        # A stream without a container does not always tell its format.
        bare = ["-f", stream.suffix[1:], "-i", str(stream)]
        with (
            frames(["-i", str(self.video)], self.selection, *size) as originals,
            frames(bare, "null", *size) as rebuilt,
        ):
            for original, picture in zip(originals, rebuilt, strict=True):
                error = np.square(original.astype(np.int32) - picture).mean()
                total += 10 * np.log10(255**2 / max(error, 1e-9))
                count += 1
        if count != self.count:
            sys.exit(f"{self.video} gives {count} frames, the figures are of {self.count}")
        return total / count


def nearest(psnr: Callable[[float], float], qualities: Sequence[float], target: float) -> float:
    """Of `qualities`, whose PSNR increases, the one whose PSNR is next to `target`, found by bisection."""
    above = bisect_left(qualities, target, key=psnr)
    return min(qualities[max(above - 1, 0) : above + 1], key=lambda quality: abs(psnr(quality) - target))


def run(video: Path, figures: dict, out: Path) -> dict:
    """Codes the frames with all codecs at the PSNR of all rates; returns what it writes to peers.json."""
    if shutil.which("ffmpeg") is None:
        sys.exit("ffmpeg is not installed, or not in PATH")
    taken = Taken.of(video, figures)
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.json").unlink(missing_ok=True)
    rows = []
    with TemporaryDirectory() as folder:
        for codec in CODECS:
            code = partial(taken.code, codec, Path(folder))
            psnr = cache(lambda quality, code=code: taken.psnr(code(quality)))
            for rate in tqdm(figures["rates"], desc=codec.name):
                quality = nearest(psnr, codec.qualities, rate["psnr_db"])
                options = " ".join(codec.arguments(quality))
                if abs(psnr(quality) - rate["psnr_db"]) > TOLERANCE:
                    tqdm.write(f"{codec.name} has no quality near {rate['psnr_db']:.2f} dB, only {psnr(quality):.2f}")
                    continue
                shutil.copy(code(quality), out / f"{codec.name}-{rate['bits']}.{codec.ending}")
                rows.append({"codec": codec.name, "bits": rate["bits"], "options": options, "ending": codec.ending})
                tqdm.write(f"{codec.name} at {rate['psnr_db']:.2f} dB: {psnr(quality):.2f} dB with {options}")
    peers = {"peers": rows}
    (out / "peers.json").write_text(json.dumps(peers, indent=1) + "\n")
    return peers


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, required=True, help="the video")
    parser.add_argument("--figures", type=Path, required=True, help="JSON of patchwire evaluate on this video")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()
    run(args.video, json.loads(args.figures.read_text()), args.out)


if __name__ == "__main__":
    main()
