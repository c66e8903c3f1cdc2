"""Each shipped model from nothing: the steps of its recipe, one after the other.

If the command is repeated, finished steps are skipped and an interrupted one continues.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

Step = tuple[str, *tuple[str, ...]]
"""A command or a module of this package, and its arguments."""
SHIPPED = Path(__file__).parents[2] / "starts/shipped"
"""The shipped program, and its decoders in full precision."""


def classify(data: Path, runs: Path, models: Path) -> Iterator[Step]:
    """CIFAR-10, the teacher, and the two rounds of its student."""
    teacher, first, student = runs / "teacher", runs / "classify-first", runs / "classify"
    yield "fetch-cifar10", str(data)
    yield "recipes.teacher", f"--data={data}", f"--out={teacher}"
    learn = "recipes.train_classify", f"--data={data}", f"--teacher={teacher}"
    yield *learn, f"--out={first}", "--epochs=30"
    start = f"--start={first / 'checkpoint.pt'}"
    yield *learn, f"--out={student}", start, "--both", "--epochs=13", "--lr=0.012", "--rest-lr=4e-3", "--seed=2"
    yield "recipes.export", f"--classify={student}", f"--out={models}"


def compress(data: Path, runs: Path, models: Path) -> Iterator[Step]:
    """The fit and its decoder, from a folder of photographs."""
    run = runs / "compress"
    yield "recipes.train_compress", f"--photos={data}", f"--out={run}", "--decoder-steps=48000"
    yield "recipes.export", f"--compress={run}", f"--photos={data}", f"--out={models}"


def fast(data: Path, runs: Path, models: Path) -> Iterator[Step]:
    """The fast decoder behind the pair of an exported run, else the shipped one, from a folder of photographs."""
    run, full = runs / "fast", runs / "compress"
    start = f"--start={full if (full / 'decoder.safetensors').exists() else SHIPPED}", "--fast"
    yield "recipes.train_compress", f"--photos={data}", f"--out={run}", *start, "--decoder-steps=7500", "--lr=2e-4"
    yield "recipes.export", f"--fast={run}", f"--photos={data}", f"--out={models}"


RECIPES = {"classify": classify, "compress": compress, "fast": fast}


def reproduce(model: str, data: Path, runs: Path, models: Path) -> None:
    """Run the recipe; a step that fails ends it."""
    for module, *arguments in RECIPES[model](data, runs, models):
        # A command of the package itself has a dash in its name, a module has none.
        target = ["patchwire_training", module] if "-" in module else [f"patchwire_training.{module}"]
        command = [sys.executable, "-m", *target, *arguments]
        print("+", *command[1:], flush=True)
        subprocess.run(command, check=True)
