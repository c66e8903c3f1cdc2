"""The compression recipe fits, trains and resumes."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from patchwire_training.chip import nqe
from patchwire_training.models import programs
from patchwire_training.integers.model import File
from patchwire_training.recipes import export, quantize, train_compress
from patchwire_training.models.decoder import Decoder
from patchwire_training.models.fast_decoder import FastDecoder


def stored(weight):
    """The values as a decoder's file stores them."""
    return weight.half().float() if weight.ndim == 2 else weight


def run(monkeypatch, photos, out, more=""):
    arguments = f"--photos {photos} --out {out} --fit-patches 600 --decoder-steps 2 {more}"
    monkeypatch.setattr(sys, "argv", ["train_compress", *arguments.split()])
    train_compress.main()
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_fit_and_its_decoder_are_made_and_resume(monkeypatch, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(1)
    for i in range(10):
        coarse = Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
        coarse.resize((480, 480), Image.Resampling.BICUBIC).save(photos / f"{i}.png")
    log = run(monkeypatch, photos, tmp_path / "run")
    assert [entry["step"] for entry in log] == [0, 2]
    assert all(np.isfinite(entry["validation"]) for entry in log)

    before = torch.load(tmp_path / "run/checkpoint.pt")["chip"]
    assert len(run(monkeypatch, photos, tmp_path / "run")) == 2, "a finished run has nothing left to do"
    after = torch.load(tmp_path / "run/checkpoint.pt")["chip"]
    assert all(torch.equal(before[key], after[key]) for key in before)

    monkeypatch.setattr(quantize, "CROPS", 4)
    monkeypatch.setattr(quantize, "SIDE", 96)
    export.export_compress(tmp_path / "run", photos, tmp_path)
    monkeypatch.setattr(train_compress, "FAST_PATCHES", 1000)
    fast = run(monkeypatch, photos, tmp_path / "fast", f"--start {tmp_path / 'run'} --fast")
    assert abs(fast[-1]["validation"] - log[-1]["validation"]) < 1, "it begins where the large decoder's patches are"
    export.export_fast(tmp_path / "fast", photos, tmp_path)
    average = torch.load(tmp_path / "fast/checkpoint.pt")["average"]
    again = FastDecoder.load(tmp_path / "fast/fast.safetensors").state_dict()
    assert all(torch.equal(stored(average[key]), again[key]) for key in average)
    program = nqe.program_id((tmp_path / "compress.nqe").read_bytes())
    for name in ("decoder", "fast"):
        assert File.read(tmp_path / f"{name}.safetensors").program == program


@pytest.mark.parametrize("build, bits", [(programs.compressor, 256), (programs.classed_compressor, 16)])
def test_shipped_pair_is_read_back(tmp_path, build, bits):
    torch.manual_seed(5)
    chip, decoder = build(40, 90, bits), Decoder(hidden=300)
    chip[0].kernel_of.copy_(torch.randint(0, 40, (90,)))
    for layer in chip:
        low, high = (-2, 3) if layer.levels == 5 else (-1, 2)
        layer.set_integers(
            torch.randint(low, high, layer.weight.shape).float(), torch.randint(-9, 9, layer.beta.shape), 5
        )
    file = nqe.to_bytes(chip, "small", [])
    (tmp_path / "compress.nqe").write_bytes(file)
    decoder.save(tmp_path / "decoder.safetensors", nqe.program_id(file))

    again, same = train_compress.take_pair(tmp_path)
    assert nqe.to_bytes(again, "small", []) == file
    assert all(torch.equal(stored(a), b) for a, b in zip(decoder.parameters(), same.parameters()))
