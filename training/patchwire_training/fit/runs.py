"""A run's folder: `checkpoint.pt` to resume from, `log.jsonl` to read."""

from __future__ import annotations

import json
from pathlib import Path

import torch


def save(folder: Path, state: dict) -> None:
    """Replace the checkpoint; if this is interrupted, the previous one stays."""
    checkpoint = folder / "checkpoint.pt"
    torch.save(state, checkpoint.with_suffix(".tmp"))
    checkpoint.with_suffix(".tmp").replace(checkpoint)


def load(folder: Path) -> dict | None:
    """The checkpoint, if the run has one."""
    checkpoint = folder / "checkpoint.pt"
    return torch.load(checkpoint) if checkpoint.exists() else None


def log(folder: Path, record: dict) -> None:
    """Print a line of the log and append it."""
    line = json.dumps(record)
    print(line, flush=True)
    with (folder / "log.jsonl").open("a") as file:
        file.write(line + "\n")
