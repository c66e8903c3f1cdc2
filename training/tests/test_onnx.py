"""In ONNX Runtime the exports of ``patchwire export --onnx`` compute the same as the chip and the decoder's network."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from patchwire_training.chip import golden, model as chip
from patchwire_training.comparison import engines
from patchwire_training.integers import emulation
from patchwire_training.integers.full import Full
from patchwire_training.integers.model import GRAY_BITS, File

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
GOLDEN = ROOT / "edge-node/asic/tests/golden"
PROGRAMS = [MODELS / "compress.nqe", MODELS / "classify.nqe", *sorted(GOLDEN.glob("*.nqe"))]
EXAMPLES = [ROOT / f"cloud-decoder/purenet/tests/golden/{name}.safetensors" for name in ("full", "plain")]
DECODERS = [MODELS / "decoder.safetensors", MODELS / "fast.safetensors", *EXAMPLES]


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """A folder with the shipped models and the golden programs and decoders as ONNX."""
    folder = tmp_path_factory.mktemp("onnx")
    engines.patchwire("export", "--onnx", folder)
    engines.patchwire("export", "--onnx", folder, *GOLDEN.glob("*.nqe"), *EXAMPLES)
    return folder


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_gives_the_chips_bits(exported, path):
    program = chip.parse(path.read_bytes())
    session = engines.session(exported / f"{path.stem}.onnx")
    assert session.get_modelmeta().custom_metadata_map["program"] == path.read_bytes()[-32:].hex()
    pixels = golden.patches(7, 12)
    found = session.run(None, {"pixels": engines.channels_first(pixels)})[0]
    np.testing.assert_array_equal(found, np.stack([chip.run(program, patch) for patch in pixels]))
    if program.task == 0:
        assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == program.labels


@pytest.mark.parametrize("path", DECODERS, ids=lambda path: path.stem)
@pytest.mark.parametrize("share", [1, 0.5])
def test_a_decoder_is_the_network_that_its_integers_approximate(exported, path, share):
    file = File.read(path)
    bits = file.stages[0]["bits"]
    latents = np.random.default_rng(3).choice(np.float32([-1, 1]), (2, bits, 2, 3))
    latents[:, int(share * bits) :] = 0
    session = engines.session(exported / f"{path.stem}.onnx")
    assert session.get_modelmeta().custom_metadata_map["program"] == file.program
    assert session.get_modelmeta().custom_metadata_map["decoder"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with torch.no_grad():
        expected = Full.of(file).decode(torch.from_numpy(latents)).numpy() / (255 << GRAY_BITS)
    found = session.run(None, {"latents": latents})[0]
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * max(1, abs(expected).max()))


@pytest.mark.parametrize("name", ["decoder", "fast"])
def test_the_shipped_decoders_frames_are_near_those_of_their_networks(exported, name):
    with Image.open(ROOT / "cli/samples/lake.jpg") as photograph:
        latents = engines.latents(engines.session(exported / "compress.onnx"), photograph.crop((0, 0, 192, 128)))
    found = engines.session(exported / f"{name}.onnx").run(None, {"latents": latents})[0].clip(0, 1) * 255
    frames = emulation.decode(File.read(MODELS / f"{name}.safetensors"), torch.from_numpy(latents)).numpy()
    assert np.square(found - frames).mean() < 1.5
