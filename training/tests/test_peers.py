"""The peers keep their budgets, and the files that peers.json names exist."""

import json

import numpy as np
from PIL import Image

from patchwire_training.comparison import peers


def test_budgets_are_kept_and_files_are_there(tmp_path):
    rng = np.random.default_rng(5)
    smooth = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    # Neither side is a multiple of 32: 8 x 5 patches.
    image = Image.fromarray(smooth).resize((250, 150), Image.Resampling.BICUBIC)
    (tmp_path / "images").mkdir()
    image.save(tmp_path / "images" / "blobs.png")
    (tmp_path / "images" / "notes.txt").write_text("not an image")

    peers.run(tmp_path / "images", tmp_path / "out")

    rows = json.loads((tmp_path / "out" / "peers.json").read_text())["peers"]
    found = {(row["codec"], row["bits"]) for row in rows}
    assert {(codec.name, 256) for codec in peers.CODECS} <= found
    for row in rows:
        size = row["images"]["blobs.png"]
        assert 0 < size <= 8 * 5 * row["bits"] // 8, row
        with Image.open(tmp_path / "out" / f"{row['codec']}-{row['bits']}" / "blobs.png") as rebuilt:
            assert rebuilt.size == (250, 150)
            error = np.square(np.asarray(rebuilt, float) - np.asarray(image, float)).mean()
        if row["bits"] == 256:
            assert 10 * np.log10(255**2 / error) > 24, row


def test_a_quality_is_the_largest_that_fits():
    image = Image.fromarray(np.random.default_rng(6).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    budget = 3000
    data = peers.largest(lambda quality: peers.jpeg(image, quality), len, range(1, 101), budget)
    fitting = [q for q in range(1, 101) if len(peers.jpeg(image, q)) <= budget]
    assert data == peers.jpeg(image, fitting[-1])
    assert peers.largest(lambda quality: peers.jpeg(image, quality), len, range(1, 101), 100) is None


def test_a_patch_payload_leaves_headers_out():
    flat = Image.new("RGB", (32, 32), (120, 120, 120))
    # Per 8x8 block at least one bit of DC and one of AC: 24 blocks in 4:2:0.
    assert 6 <= peers.jpeg_payload(peers.jpeg(flat, 50)) <= 12
    # Nothing but packet headers, one byte for each of 3 components and 4 resolutions.
    assert 12 <= peers.jpeg2000_payload(peers.jpeg2000(flat, 20, 4)) <= 24


def test_a_busy_patch_fits_too():
    noise = np.random.default_rng(7).integers(0, 2, (32, 32, 3), dtype=np.uint8) * 255
    patch_codecs = [codec for codec in peers.CODECS if codec.unit == "patch"]
    assert len(patch_codecs) == 3
    for codec in patch_codecs:
        size, _ = codec.run(Image.fromarray(noise))[256]
        assert size <= 32, codec.name
