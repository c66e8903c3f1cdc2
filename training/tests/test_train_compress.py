"""The compression recipe runs through all its stages and resumes."""

import json
import sys

import numpy as np
import torch
from PIL import Image

from patchwire_training import nqe, programs, train_compress, transform_fit
from patchwire_training.decoder import Decoder
from patchwire_training.quant import Chip, QConv


def small_chip() -> Chip:
    return Chip(
        QConv(3, 32, 8, stride=8, levels=5, pixels=True),
        QConv(32, 600, 4, levels=3),
        QConv(600, 256, 1, levels=3, output="bits"),
    )


def run(monkeypatch, photos, out):
    arguments = f"--photos {photos} --out {out} --synthesis-steps 2 --decoder-steps 2 --joint-steps 2"
    monkeypatch.setattr(sys, "argv", ["train_compress", *arguments.split()])
    train_compress.main()
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_stages_follow_each_other_and_resume(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "compressor", small_chip)
    monkeypatch.setattr(train_compress, "FIT_PATCHES", 600)
    monkeypatch.setattr(transform_fit, "CODES_STEPS", (4.0,))
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(1)
    for i in range(10):
        coarse = Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
        coarse.resize((480, 480), Image.Resampling.BICUBIC).save(photos / f"{i}.png")
    log = run(monkeypatch, photos, tmp_path / "run")
    assert [entry["stage"] for entry in log] == ["fit", "synthesis", "decoder", "joint"]
    assert all(np.isfinite(entry["validation"]) for entry in log)

    before = torch.load(tmp_path / "run/checkpoint.pt")["chip"]
    assert len(run(monkeypatch, photos, tmp_path / "run")) == 4, "a finished run has nothing left to do"
    after = torch.load(tmp_path / "run/checkpoint.pt")["chip"]
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_shipped_pair_is_read_back(tmp_path):
    torch.manual_seed(5)
    chip, decoder = small_chip(), Decoder()
    for layer in chip:
        low, high = (-2, 3) if layer.levels == 5 else (-1, 2)
        layer.set_integers(
            torch.randint(low, high, layer.weight.shape).float(), torch.randint(-9, 9, layer.beta.shape), 5
        )
    file = nqe.to_bytes(chip, "small", [])
    (tmp_path / "compress.nqe").write_bytes(file)
    decoder.save(tmp_path / "decoder.safetensors", nqe.program_id(file))

    again, same = small_chip(), Decoder()
    train_compress.take_shipped(tmp_path, again, same)
    assert nqe.to_bytes(again, "small", []) == file
    assert all(torch.equal(a, b) for a, b in zip(decoder.parameters(), same.parameters()))
