"""The model of the latent codec: the golden frames are its own, and it does what its parts say."""

from patchwire_training.comparison.engines import ROOT
from patchwire_training.latents import golden, model

GOLDEN = ROOT / "latent/tests/golden"


def test_the_golden_files_are_the_models(tmp_path):
    golden.write(tmp_path)
    for name in ("tiny.pwp", "frames.txt"):
        assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes(), name


def test_the_checksum_is_crc32c():
    assert model.crc32c(b"123456789") == 0xE3069283


def test_a_steady_bit_becomes_surer_and_a_flickering_one_does_not():
    state = 5
    for frame in range(40):
        state = model.step(state, 0, frame)
    assert state == 0
    for frame in range(40):
        state = model.step(state, frame % 2, frame)
    assert 4 <= state <= 11
