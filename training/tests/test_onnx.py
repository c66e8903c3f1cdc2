"""In ONNX Runtime the exports of ``patchwire export --onnx`` compute the same as the chip and the decoder."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from patchwire_training.chip import golden, model as chip
from patchwire_training.comparison import engines
from patchwire_training.models.decoder import Decoder
from patchwire_training.models.fast_decoder import FastDecoder

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
GOLDEN = ROOT / "edge-node/asic/tests/golden"
PROGRAMS = [MODELS / "compress.nqe", MODELS / "classify.nqe", *sorted(GOLDEN.glob("*.nqe"))]
DECODERS = ROOT / "cloud-decoder/purenet/tests/golden"


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """A folder with the shipped models and the golden programs and decoders as ONNX."""
    folder = tmp_path_factory.mktemp("onnx")
    engines.patchwire("export", "--onnx", folder)
    others = [*GOLDEN.glob("*.nqe"), DECODERS / "full.safetensors", DECODERS / "plain.safetensors"]
    engines.patchwire("export", "--onnx", folder, *others)
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


@pytest.mark.parametrize("name, kind", [("decoder", Decoder), ("fast", FastDecoder)])
@pytest.mark.parametrize("bits", [256, 64])
def test_the_shipped_decoders_are_the_trainers(exported, name, kind, bits):
    rng = np.random.default_rng(3)
    latents = rng.choice(np.float32([-1, 1]), (2, 256, 2, 3))
    latents[:, bits:] = 0
    session = engines.session(exported / f"{name}.onnx")
    with safe_open(MODELS / f"{name}.safetensors", "np") as file:
        assert session.get_modelmeta().custom_metadata_map["program"] == file.metadata()["program"]
    with torch.no_grad():
        expected = kind.load(MODELS / f"{name}.safetensors")(torch.from_numpy(latents)).numpy()
    found = session.run(None, {"latents": latents})[0]
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["full", "plain"])
def test_every_kind_of_stage_is_pytorchs(exported, name):
    spec = importlib.util.spec_from_file_location("make_golden", DECODERS / "make_golden.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    layout = {"full": reference.FULL, "plain": reference.PLAIN}[name]
    rows, columns, bits = 2, 3, layout["stages"][0]["bits"]
    packed = np.random.default_rng(4).integers(0, 256, (rows, columns, bits // 8), np.uint8)
    weights = load_file(DECODERS / f"{name}.safetensors")
    expected = reference.decode(layout, weights, packed, 32 * columns, 32 * rows).numpy()
    signs = np.unpackbits(packed, axis=-1, bitorder="little").astype(np.float32) * 2 - 1
    found = engines.session(exported / f"{name}.onnx").run(None, {"latents": engines.channels_first(signs[None])})[0]
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-4)
