"""The decoder in integers: the NumPy model, its fast emulation, the golden frames, and the way from full precision."""

import copy
import random

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from patchwire_training.comparison import engines
from patchwire_training.integers import balance, bounds, emulation, golden, model, quantize
from patchwire_training.integers.full import Full
from patchwire_training.models.decoder import Decoder
from patchwire_training.models.fast_decoder import FastDecoder
from patchwire_training.recipes import train_compress

ROOT = engines.ROOT
GOLDEN = ROOT / "cloud-decoder/purenet/tests/golden"
SHIPPED = ROOT / "training/starts/shipped"
PROGRAM = "00" * 32


def golden_file(name):
    return model.File.read(GOLDEN / f"{name}.safetensors")


def golden_patches(file, name):
    frames = load_file(GOLDEN / "frames.safetensors")
    frame = frames[f"{name}.frame"]
    bits = file.stages[0]["bits"]
    shape = -(-frame.shape[0] // model.PATCH), -(-frame.shape[1] // model.PATCH)
    latents = frames[f"{name}.latents"]
    given = frames.get(f"{name}.bits", np.full(shape, 8 * len(latents) // np.prod(shape)))
    return model.Patches.unpack(latents.tobytes(), given.astype(np.int64), bits), frame


def as_tensor(patches):
    return torch.from_numpy(patches.signs()).permute(2, 0, 1)[None]


CASES = ["full.96x64", "full.70x45", "full.prefix", "full.mixed", "plain.96x64", "plain.70x45"]


def test_the_golden_files_are_the_models(tmp_path):
    golden.write(tmp_path)
    for name in ("full", "plain", "frames"):
        found, stored = (load_file(folder / f"{name}.safetensors") for folder in (tmp_path, GOLDEN))
        assert found.keys() == stored.keys()
        for key in found:
            np.testing.assert_array_equal(found[key], stored[key], err_msg=f"{name}: {key}")
    assert (tmp_path / "full.safetensors").read_bytes() == (GOLDEN / "full.safetensors").read_bytes()


@pytest.mark.parametrize("case", CASES)
def test_model_and_emulation_give_the_golden_frames(case):
    file = golden_file(case.split(".")[0])
    patches, frame = golden_patches(file, case)
    height, width, _ = frame.shape
    np.testing.assert_array_equal(model.decode(file, patches, width, height), frame)
    emulated = emulation.decode(file, as_tensor(patches))[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(emulated[:height, :width], frame)


def test_the_golden_frames_reach_every_limit(monkeypatch):
    reached = set()

    def watch(name, low, high):
        real = getattr(model, name)

        def watched(values, *arguments):
            before = model.scaled(values, arguments[0]) + arguments[1] if arguments else values
            reached.update({(name, "low")} if (before < low).any() else ())
            reached.update({(name, "high")} if (before > high).any() else ())
            return real(values, *arguments)

        monkeypatch.setattr(model, name, watched)

    watch("saturated", -32768, 32767)
    watch("read_bytes", 0, 255)
    file = golden_file("full")
    patches, frame = golden_patches(file, "full.96x64")
    model.decode(file, patches, 96, 64)
    assert len(reached) == 4, reached
    assert 0.01 < (frame == 0).mean() < 0.3 and 0.01 < (frame == 255).mean() < 0.3
    readings = [file.tensors[f"{name}.reading"] for name in bounds.convolutions(file.stages)]
    assert {0, 128, 255} < {zero for _, zero, _ in readings}
    shifts = {shift for _, _, shift in readings}
    assert 0 in shifts and len(shifts) > 3


@pytest.mark.parametrize(
    "name, index, value, message",
    [
        ("synthesis.hidden.bias", 3, 32767, "synthesis.hidden: sums of channel 3"),
        ("synthesis.bias", 7, 2**31 - 1, "synthesis: sums of channel 7"),
        ("synthesis.multiplier", 2, -1, "synthesis.multiplier: values"),
        ("head.bias", 4, -(2**31) + 1, "head: sums of channel 4"),
        ("tail.weight", (0, 0, 0, 0), 64, "tail.weight: values"),
        ("join.reading", 1, 256, "join.reading"),
        ("body4.0.conv2.reading", 2, 32, "body4.0.conv2.reading"),
    ],
)
def test_sums_that_may_be_too_large_are_refused(name, index, value, message):
    file = copy.deepcopy(golden_file("full"))
    bounds.check(file)
    file.tensors[name][index] = value
    with pytest.raises(ValueError, match=message):
        bounds.check(file)


def test_latents_of_another_length_and_files_of_another_format_are_refused():
    with pytest.raises(ValueError, match="24 bits, the patches 16"):
        model.Patches.unpack(b"abc", np.full((1, 2), 8), 8)
    with pytest.raises(ValueError, match="patchwire-decoder-1.*allowed is 'patchwire-decoder-2'"):
        model.File.read(SHIPPED / "fast.safetensors")
    with pytest.raises(ValueError, match="patchwire-decoder-2.*allowed is 'patchwire-decoder-1'"):
        Full.read(GOLDEN / "full.safetensors")


def latents_of(count, side, prefixes=()):
    """Random smooth pictures [count, 3, 32 * side, 32 * side] and their latents by the shipped program."""
    rng = np.random.default_rng(11)
    pictures = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (2 * side, 2 * side, 3), dtype=np.uint8))
        pictures.append(np.asarray(coarse.resize((32 * side, 32 * side), Image.Resampling.BICUBIC)))
    frames = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    latents = train_compress.encode(train_compress.take_program(ROOT / "models/compress.nqe"), frames)
    if prefixes:
        drawn = random.Random(5).choices(prefixes, k=count * side * side)
        latents = train_compress.cut(latents, torch.tensor(drawn).view(count, side, side))
    return latents


def decibels(first, second):
    return -10 * np.log10((first - second).square().mean().item())


def small(kind, tmp_path):
    """A small decoder of random weights, and its file."""
    torch.manual_seed(3)
    sizes = {"coarse": 12, "coarse_blocks": 1, "fine": 12, "fine_blocks": 2}
    decoder = Decoder(40, **sizes) if kind is Decoder else FastDecoder(40, components=24, channels=8, blocks=1)
    with torch.no_grad():
        for name, value in decoder.named_parameters():
            if name.startswith(("tail", "join")):
                value.fill_(0.5 if name == "tail.bias" else 0) if value.ndim == 1 else value.normal_(0, 0.05)
    decoder.save(tmp_path / "decoder.safetensors", PROGRAM)
    return decoder, Full.read(tmp_path / "decoder.safetensors")


@pytest.mark.parametrize("kind", [Decoder, FastDecoder])
def test_a_balanced_decoder_is_the_same_and_full_precision_is_the_trainers(kind, tmp_path):
    decoder, full = small(kind, tmp_path)
    latents = latents_of(2, 4, (64, 256))
    with torch.no_grad():
        expected = full.decode(latents)
        # Weights of the synthesis are stored in half precision.
        torch.testing.assert_close(expected, decoder(latents), rtol=0, atol=2e-3)
    found = balance.balanced(full, latents)
    assert any(not torch.equal(found.tensors[name], value) for name, value in full.tensors.items())
    with torch.no_grad():
        torch.testing.assert_close(found.decode(latents), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", [Decoder, FastDecoder])
def test_integers_are_near_full_precision(kind, tmp_path):
    _, full = small(kind, tmp_path)
    latents = latents_of(4, 4, (64, 128, 192, 256))
    file = quantize.quantize(balance.balanced(full, latents), latents)
    bounds.check(file)
    file.write(tmp_path / "integers.safetensors")
    file = model.File.read(tmp_path / "integers.safetensors")
    with torch.no_grad():
        expected = full.decode(latents).clamp(0, 1)
    assert expected.std() > 0.05
    near = decibels(emulation.decode(file, latents) / 255, expected)
    assert near > 42, f"{near} dB"


@pytest.fixture(scope="module", params=["decoder", "fast"])
def shipped(request):
    return request.param, model.File.read(ROOT / f"models/{request.param}.safetensors")


def test_the_shipped_decoders_are_within_bounds_and_near_full_precision(shipped):
    name, file = shipped
    bounds.check(file)
    full = Full.read(SHIPPED / f"{name}.safetensors")
    assert file.program == full.program
    latents = latents_of(1, 4)
    with torch.no_grad():
        expected = full.decode(latents).clamp(0, 1)
    near = decibels(emulation.decode(file, latents) / 255, expected)
    assert near > 45, f"{near} dB"


@pytest.mark.parametrize("bits", [256, 128])
def test_patchwire_decodes_a_photograph_as_the_model_does(shipped, bits, tmp_path):
    name, file = shipped
    with Image.open(ROOT / "cli/samples/lake.jpg") as photograph:
        photograph.convert("RGB").crop((200, 150, 300, 220)).save(tmp_path / "crop.png")
    program, fast = ROOT / "models/compress.nqe", ["--fast"] if name == "fast" else []
    latents = tmp_path / "crop.pwl"
    engines.patchwire("encode", tmp_path / "crop.png", "--program", program, "--bits", bits, "-o", latents)
    engines.patchwire("decode", latents, *fast, "-o", tmp_path / "decoded.png")
    with Image.open(tmp_path / "crop.png") as image, Image.open(tmp_path / "decoded.png") as decoded:
        pixels = torch.from_numpy(np.pad(np.asarray(image), ((0, 26), (0, 28), (0, 0)), mode="edge"))
        latents = train_compress.encode(train_compress.take_program(program), pixels.permute(2, 0, 1)[None].float())
        given = np.full(latents.shape[2:], bits)
        patches = model.Patches((latents[0].permute(1, 2, 0) > 0).long().numpy(), given)
        np.testing.assert_array_equal(np.asarray(decoded), model.decode(file, patches, 100, 70))
