"""Other codecs at the bytes of the compression program, as pictures that ``patchwire evaluate --peers`` measures.

``python -m patchwire_training.comparison.peers --images DIR --out PEERS`` codes every image of DIR

- as a whole with JPEG, WebP, JPEG 2000 and AVIF, each at the largest quality whose file, headers included, is at most
  as large as the latents of the frame at 64, 128, 192 and 256 bits a patch of 32x32 pixels;
- patch by patch, each alone and in at most 32 bytes, with JPEG and JPEG 2000: the class of codecs with a constant
  bitrate. Only entropy-coded bytes count there; headers and the patch's quantizer steps are free. JPEG is run with the
  standard Huffman tables, as "jpeg-patch", and as a bound with tables made for each patch, which hold more bytes than
  the patch and are not counted either, as "jpeg-patch-own-tables".

It writes PEERS/CODEC-BITS/STEM.png and, last, PEERS/peers.json.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

PATCH = 32
BITS = (64, 128, 192, 256)
PATCH_BITS = 256
EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".ppm", ".pnm"}
SOS, EOI = b"\xff\xda", b"\xff\xd9"
SOD, EOC = b"\xff\x93", b"\xff\xd9"


def jpeg(image: Image.Image, quality: float, own_tables: bool = True) -> bytes:
    """JPEG, 4:2:0, Huffman tables made for the image or those of the standard's annex K."""
    return encode(image, "JPEG", quality=int(quality), subsampling="4:2:0", optimize=own_tables)


def webp(image: Image.Image, quality: float) -> bytes:
    """Lossy WebP, slowest method."""
    return encode(image, "WEBP", quality=quality, method=6)


def jpeg2000(image: Image.Image, quality: float, resolutions: int = 6) -> bytes:
    """JPEG 2000 codestream with the 9/7 wavelet; `quality` is the PSNR in dB that the encoder aims at."""
    options = {"quality_mode": "dB", "quality_layers": [quality], "num_resolutions": resolutions}
    return encode(image, "JPEG2000", no_jp2=True, irreversible=True, mct=1, **options)


def avif(image: Image.Image, quality: float) -> bytes:
    """AVIF, 4:2:0, speed 4."""
    return encode(image, "AVIF", quality=int(quality), subsampling="4:2:0", speed=4, max_threads=1)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def jpeg_payload(data: bytes) -> int:
    """Bytes between the header of the only scan and the end of the image."""
    header = data.index(SOS) + 2
    return len(data) - header - int.from_bytes(data[header : header + 2], "big") - len(EOI)


def jpeg2000_payload(data: bytes) -> int:
    """Bytes of packets with their headers: from the only tile's start of data to the end of the codestream."""
    return len(data) - data.index(SOD) - len(SOD) - len(EOC)


def largest(
    code: Callable[[float], bytes], size: Callable[[bytes], int], qualities: Sequence[float], budget: int
) -> bytes | None:
    """The code of the largest of increasing `qualities`, found by bisection, whose size is at most `budget` bytes."""
    above = bisect_right(qualities, budget, key=lambda quality: size(code(quality)))
    return code(qualities[above - 1]) if above else None


@dataclass(frozen=True)
class FrameCodec:
    """Codes whole frames; the file's bytes count."""

    name: str
    code: Callable[[Image.Image, float], bytes]
    qualities: Sequence[float]
    bits: tuple[int, ...] = BITS
    unit: str = "frame"

    def run(self, image: Image.Image) -> dict[int, tuple[int, Image.Image] | None]:
        """For each budget in bits a patch: bytes and picture, or nothing if the lowest quality is too large."""
        patches = -(-image.width // PATCH) * -(-image.height // PATCH)
        code = cache(partial(self.code, image))
        found = {bits: largest(code, len, self.qualities, patches * bits // 8) for bits in self.bits}
        return {bits: data and (len(data), decode(data)) for bits, data in found.items()}


@dataclass(frozen=True)
class PatchCodec:
    """Codes every patch alone in PATCH_BITS; entropy-coded bytes count. The best of `variants` is taken."""

    name: str
    variants: Sequence[Callable[[Image.Image, float], bytes]]
    size: Callable[[bytes], int]
    qualities: Sequence[float]
    bits: tuple[int, ...] = (PATCH_BITS,)
    unit: str = "patch"

    def run(self, image: Image.Image) -> dict[int, tuple[int, Image.Image] | None]:
        """Like `FrameCodec.run`; sides are extended to multiples of a patch by repeating the edge."""
        pad = ((0, -image.height % PATCH), (0, -image.width % PATCH), (0, 0))
        pixels = np.pad(np.asarray(image), pad, mode="edge")
        total = 0
        for y in range(0, pixels.shape[0], PATCH):
            for x in range(0, pixels.shape[1], PATCH):
                part = pixels[y : y + PATCH, x : x + PATCH]
                best = self.patch(part.copy())
                if best is None:
                    return {PATCH_BITS: None}
                total += best[0]
                part[:] = best[1]
        rebuilt = Image.fromarray(pixels[: image.height, : image.width])
        return {PATCH_BITS: (total, rebuilt)}

    def patch(self, pixels: np.ndarray) -> tuple[int, np.ndarray] | None:
        """Bytes and pixels [32, 32, 3] of the variant with the least squared error."""
        image = Image.fromarray(pixels)
        best, least = None, np.inf
        for variant in self.variants:
            data = largest(cache(partial(variant, image)), self.size, self.qualities, PATCH_BITS // 8)
            if data is None:
                continue
            rebuilt = np.asarray(decode(data))
            error = float(np.square(rebuilt.astype(np.int32) - pixels).sum())
            if error < least:
                best, least = (self.size(data), rebuilt), error
        return best


def means(image: Image.Image, side: int) -> Image.Image:
    """Replace every block of `side` pixels by its mean."""
    return image.reduce(side).resize(image.size, Image.Resampling.NEAREST) if side > 1 else image


def jpeg_variants(own_tables: bool) -> list[Callable[[Image.Image, float], bytes]]:
    """Variants of the patch and of its block means, for a patch so busy that the lowest quality is too large."""
    return [lambda image, quality, side=side: jpeg(means(image, side), quality, own_tables) for side in (1, 8, 16)]


def jpeg2000_variants() -> list[Callable[[Image.Image, float], bytes]]:
    """With fewer than four resolutions the coarsest band is too large for the budget; a patch allows six."""
    return [partial(jpeg2000, resolutions=n) for n in (4, 5, 6)]


CODECS = (
    FrameCodec("jpeg", jpeg, range(1, 101)),
    FrameCodec("webp", webp, np.arange(0, 100.01, 0.25).tolist()),
    FrameCodec("jpeg2000", jpeg2000, np.arange(5, 60, 0.02).tolist()),
    FrameCodec("avif", avif, range(101)),
    PatchCodec("jpeg-patch", jpeg_variants(False), jpeg_payload, range(1, 101)),
    PatchCodec("jpeg-patch-own-tables", jpeg_variants(True), jpeg_payload, range(1, 101)),
    PatchCodec("jpeg2000-patch", jpeg2000_variants(), jpeg2000_payload, np.arange(1, 60, 0.25).tolist()),
)


def images_of(folder: Path) -> list[Path]:
    """The images directly in a folder, sorted by name; their names without extension must differ."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS and p.is_file())
    if not paths:
        sys.exit(f"{folder} holds no image")
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            sys.exit(f"{stems[path.stem].name} and {path.name} would both be written to {path.stem}.png")
        stems[path.stem] = path
    return paths


def run(images: Path, out: Path) -> dict:
    """Codes all images with all codecs; returns what it writes to peers.json."""
    paths = images_of(images)
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.json").unlink(missing_ok=True)
    rows = {(c.name, b): {"codec": c.name, "unit": c.unit, "bits": b, "images": {}} for c in CODECS for b in c.bits}
    bar = tqdm(total=len(CODECS) * len(paths), unit="image")
    for codec in CODECS:
        bar.set_description(codec.name)
        for path in paths:
            with Image.open(path) as image:
                results = codec.run(image.convert("RGB"))
            for bits, result in results.items():
                if result is None:
                    bar.write(f"{path.name} does not fit {bits} bits a patch with {codec.name} at its lowest quality")
                    continue
                size, picture = result
                folder = out / f"{codec.name}-{bits}"
                folder.mkdir(exist_ok=True)
                picture.save(folder / f"{path.stem}.png")
                rows[codec.name, bits]["images"][path.name] = size
            bar.update()
    bar.close()
    # A mean over fewer images would not be comparable.
    whole = [row for row in rows.values() if len(row["images"]) == len(paths)]
    peers = {"peers": whole}
    (out / "peers.json").write_text(json.dumps(peers, indent=1) + "\n")
    return peers


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()
    peers = run(args.images, args.out)
    for row in peers["peers"]:
        print(f"{row['codec']}-{row['bits']}: {sum(row['images'].values()):,} bytes")


if __name__ == "__main__":
    main()
