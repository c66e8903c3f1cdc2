"""The classifier's recipe trains, resumes and exports with each of its switches."""

import json
import sys

import numpy as np
import pytest

from patchwire_training.chip import model as chip
from patchwire_training.data import cifar10
from patchwire_training.recipes import export, train_classify


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Forty images of noise in five batches, of which eight are held out."""
    monkeypatch.setattr(cifar10, "VALIDATION", 8)
    rng = np.random.default_rng(3)
    for name in cifar10.BATCHES:
        records = rng.integers(0, 256, (8, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (tmp_path / f"{name}.bin").write_bytes(records.tobytes())
    return tmp_path


def train(monkeypatch, data, out, *options):
    arguments = ["--data", data, "--out", out, "--batch", 8, *options]
    monkeypatch.setattr(sys, "argv", ["train_classify", *map(str, arguments)])
    train_classify.main()
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "options",
    [
        ["--epochs", 2, "--float-epochs", 1],
        ["--epochs", 1, "--table", "ternary", "--step", "least-squares"],
        ["--epochs", 1, "--optimizer", "adam", "--lr", "6e-3"],
        ["--epochs", 1, "--both"],
    ],
    ids=["staged", "ternary", "adam", "both"],
)
def test_every_switch_trains(monkeypatch, data, tmp_path, options):
    log = train(monkeypatch, data, tmp_path / "run", *options)
    assert len(log) == options[1] and all(np.isfinite(entry["loss"]) for entry in log)
    assert len(train(monkeypatch, data, tmp_path / "run", *options)) == options[1], "a finished run has nothing left"


def test_a_run_goes_on_from_another_and_exports(monkeypatch, data, tmp_path):
    train(monkeypatch, data, tmp_path / "first", "--epochs", 1)
    start = tmp_path / "first/checkpoint.pt"
    train(monkeypatch, data, tmp_path / "second", "--epochs", 1, "--lr", 0, "--rest-lr", 0, "--start", start)
    for run in ("first", "second"):
        export.export_classify(tmp_path / run, tmp_path / run)
    first, second = (chip.parse((tmp_path / run / "classify.nqe").read_bytes()) for run in ("first", "second"))
    for before, after in zip(first.layers, second.layers):
        if isinstance(before, chip.Conv):
            assert (before.weights == after.weights).all(), "without a rate nothing moves"
