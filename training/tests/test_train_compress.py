"""The compression recipe runs through all its stages and resumes."""

import json
import sys

import numpy as np
import torch
from PIL import Image

from patchwire_training import latent_fit, programs, train_compress
from patchwire_training.quant import Chip, QConv


def small_chip() -> Chip:
    return Chip(
        QConv(3, 16, 8, stride=8, levels=5, pixels=True, spread=6.0),
        QConv(16, 256, 4, levels=3, output="bits"),
    )


def run(monkeypatch, photos, out, decoder_steps):
    arguments = f"--photos {photos} --out {out} --patch-steps 2 --synthesis-steps 2 --joint-steps 2 --exact-steps 1"
    arguments += f" --decoder-steps {decoder_steps}"
    monkeypatch.setattr(sys, "argv", ["train_compress", *arguments.split()])
    train_compress.main()
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_stages_follow_each_other_and_resume(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "compressor", small_chip)
    monkeypatch.setattr(train_compress, "FIT_PATCHES", 600)
    monkeypatch.setattr(latent_fit, "SCALES", (1.7,))
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(1)
    for i in range(10):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((480, 480), Image.Resampling.BICUBIC).save(photos / f"{i}.png")
    log = run(monkeypatch, photos, tmp_path / "run", 2)
    assert [entry["stage"] for entry in log] == ["patch", "synthesis", "joint", "decoder"]
    assert all(np.isfinite(entry["validation"]) for entry in log)

    before = torch.load(tmp_path / "run/checkpoint.pt")["chip"]
    assert len(run(monkeypatch, photos, tmp_path / "run", 2)) == 4, "a finished run has nothing left to do"
    after = torch.load(tmp_path / "run/checkpoint.pt")["chip"]
    assert all(torch.equal(before[key], after[key]) for key in before)
