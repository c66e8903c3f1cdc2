"""zstd and xz on the latents of the compression program, beside the latent codec.

``python -m patchwire_training.comparison.compressors --figures FIGURES --images DIR``, or ``--video FILE`` in place of
the images, compresses the latents of the images or frames that FIGURES, the JSON of ``patchwire evaluate``, was
measured on, and prints a table: bytes a frame, bits per latent bit, and milliseconds a frame on one core. The
compressors get the patches alone, the codec's bytes include its header. Of a video, zstd also gets the latents of the
frame before as a dictionary, and both compress all frames as one file, which no frame could wait for.
"""

from __future__ import annotations

import argparse
import json
import lzma
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import zstandard
from tqdm import tqdm

from .engines import patchwire
from .video_peers import RENUMBER, Taken, ffmpeg

# Bytes of a latent container before its patches, and after them.
HEADER, CHECKSUM = 48, 4


@dataclass(frozen=True)
class Row:
    """A compressor's cost of a frame."""

    name: str
    bytes: float
    ratio: float
    encode_ms: float
    decode_ms: float


def zstd(data: bytes, before: bytes) -> tuple[bytes, Callable[[], bytes]]:
    """zstd -19, with `before` as its dictionary if there is one: the compressed bytes, and the way back."""
    raw = zstandard.DICT_TYPE_RAWCONTENT
    more = {"dict_data": zstandard.ZstdCompressionDict(before, dict_type=raw)} if before else {}
    packed = zstandard.ZstdCompressor(level=19, **more).compress(data)
    return packed, lambda: zstandard.ZstdDecompressor(**more).decompress(packed)


def xz(data: bytes, _before: bytes = b"") -> tuple[bytes, Callable[[], bytes]]:
    """xz as its command compresses."""
    packed = lzma.compress(data)
    return packed, lambda: lzma.decompress(packed)


def measure(name: str, compress: Callable, frames: list[bytes], refer: bool = False, parts: int = 1) -> Row:
    """A compressor on each of `frames`, which hold `parts` frames each; with `refer` it knows the one before."""
    size = encode = decode = 0.0
    before = b""
    for data in frames:
        start = time.perf_counter()
        packed, unpack = compress(data, before if refer else b"")
        encode += time.perf_counter() - start
        start = time.perf_counter()
        if unpack() != data:
            sys.exit(f"{name} gave back other bytes")
        decode += time.perf_counter() - start
        size, before = size + len(packed), data
    count = len(frames) * parts
    ms = [1000 * seconds / count for seconds in (encode, decode)]
    return Row(name, size / count, size / sum(map(len, frames)), *ms)


def codec(figures: dict, frames: list[bytes]) -> list[Row]:
    """The latent codec, by the figures."""
    latents = sum(map(len, frames)) / len(frames)
    facts = figures["codec"]
    if facts["prior"] is None:
        sys.exit("the figures are of a program without a prior")
    ratio = figures["mean"]["wire_bits_per_latent_bit"]
    rows = [Row("latent codec", ratio * latents, ratio, facts["encode_ms"], facts["decode_ms"])]
    if "video" in figures:
        ratio = figures["rates"][-1]["intra_wire_bits_per_latent_bit"]
        rows.append(Row("latent codec, intra", ratio * latents, ratio, float("nan"), float("nan")))
    return rows


def latents_of(images: Iterable[Path]) -> list[bytes]:
    """The patches of each image."""
    patches = []
    with TemporaryDirectory() as folder:
        container = Path(folder) / "latents.pwl"
        for image in images:
            patchwire("encode", str(image), "-o", str(container))
            patches.append(container.read_bytes()[HEADER:-CHECKSUM])
    return patches


def rows(figures: dict, frames: list[bytes]) -> list[Row]:
    """All rows of the table."""
    if len(frames) != len(figures["images"]):
        sys.exit(f"there are {len(frames)} frames, the figures are of {len(figures['images'])}")
    found = codec(figures, frames)
    for name, compress in (("zstd -19", zstd), ("xz", xz)):
        found.append(measure(name, compress, frames))
        if "video" in figures:
            if compress is zstd:
                found.append(measure(f"{name}, frame before as dictionary", compress, frames, refer=True))
            found.append(measure(f"{name}, all frames as one file", compress, [b"".join(frames)], parts=len(frames)))
    return found


def table(found: list[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| | bytes a frame | of the latents | ms to encode | ms to decode |", "|---|---|---|---|---|"]
    for row in found:
        times = " | ".join("" if ms != ms else f"{ms:.2f}" for ms in (row.encode_ms, row.decode_ms))
        lines.append(f"| {row.name} | {row.bytes:,.0f} | {row.ratio:.3f} | {times} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, required=True, help="JSON of patchwire evaluate on these images")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, help="folder of images")
    source.add_argument("--video", type=Path, help="the video")
    args = parser.parse_args()
    figures = json.loads(args.figures.read_text())
    with TemporaryDirectory() as folder:
        if args.video:
            selection = f"{Taken.of(args.video, figures).selection},{RENUMBER}"
            pictures = ["-i", str(args.video), "-an", "-sn", "-vf", selection, "-r", "25", f"{folder}/%06d.png"]
            subprocess.run(ffmpeg(*pictures), check=True)
            images = sorted(Path(folder).iterdir())
        else:
            images = [args.images / image["name"] for image in figures["images"]]
        frames = latents_of(tqdm(images))
    print(table(rows(figures, frames)))


if __name__ == "__main__":
    main()
