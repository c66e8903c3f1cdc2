"""Compressors give back the latents, and their rows count all bytes of a frame."""

import random

import pytest

from patchwire_training.comparison import compressors


def figures(count, video=False):
    found = {
        "images": [{}] * count,
        "mean": {"wire_bits_per_latent_bit": 0.5},
        "rates": [{"intra_wire_bits_per_latent_bit": 0.75}],
        "codec": {"prior": "00", "encode_ms": 1.0, "decode_ms": 2.0},
    }
    return found | ({"video": {}} if video else {})


def test_each_compressor_has_a_row():
    noise = random.Random(5).randbytes(1000)
    found = compressors.rows(figures(2), [noise, bytes(1000)])
    assert [row.name for row in found] == ["latent codec", "zstd -19", "xz"]
    assert found[0] == compressors.Row("latent codec", 500, 0.5, 1.0, 2.0)
    for row in found[1:]:
        # Half of the bytes are noise, which nothing makes smaller.
        assert 500 < row.bytes < 600, row
        assert row.ratio == row.bytes / 1000
        assert row.encode_ms > 0 and row.decode_ms > 0, row
    assert "| zstd -19 | 5" in compressors.table(found)


def test_frames_of_a_video_refer_to_the_frame_before():
    noise = random.Random(6).randbytes(1000)
    found = {row.name: row for row in compressors.rows(figures(4, video=True), [noise] * 4)}
    assert found["latent codec, intra"].bytes == 750
    assert found["zstd -19"].bytes > 1000
    # The first frame has none before.
    assert 250 < found["zstd -19, frame before as dictionary"].bytes < 300
    for name in ("zstd -19", "xz"):
        assert 250 < found[f"{name}, all frames as one file"].bytes < 300


def test_other_frames_than_the_figures_are_told():
    with pytest.raises(SystemExit, match="1 frames, the figures are of 2"):
        compressors.rows(figures(2), [b"a"])
