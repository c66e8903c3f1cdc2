"""The trainer's quantized forward, the NumPy model and the golden vectors agree bit for bit.

The Rust emulator is held against the same golden vectors by ``cargo test -p nqe --test golden``.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from patchwire_training.chip import model
from patchwire_training.chip import golden, nqe
from patchwire_training.models import programs
from patchwire_training.data.cifar10 import LABELS
from patchwire_training.chip.quant import Chip

GOLDEN = Path(__file__).parents[2] / "edge-node/asic/tests/golden"


def compressor() -> Chip:
    """The compression program's shape, each bit from four units."""
    chip = programs.compressor(88, 512)
    chip[1].kept.zero_()
    chip[1].kept[:, 100:104] = True
    return golden.settle(chip)


def shipped_shapes() -> dict[str, tuple[Chip, list[str]]]:
    torch.manual_seed(5)
    return {
        "classifier": (golden.settle(programs.classifier()), LABELS),
        "compressor": (compressor(), []),
        **golden.random_chips(),
    }


CHIPS = shipped_shapes()


@pytest.mark.parametrize("name", CHIPS)
def test_trainer_equals_numpy_model(name):
    chip, labels = CHIPS[name]
    program = model.parse(nqe.to_bytes(chip, name, labels))
    pixels = golden.patches(9, 9)
    with torch.no_grad():
        trained = chip(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    if not labels:
        trained = (trained > 0).float()
    trained = trained.permute(0, 2, 3, 1).flatten(1).numpy().astype(np.int64)
    numpy = np.stack([model.run(program, p) for p in pixels])
    np.testing.assert_array_equal(trained, numpy)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda p: p.stem)
def test_golden_vectors_are_the_numpy_models(path):
    vectors = json.loads(path.read_text())
    program = model.parse((path.parent / vectors["program"]).read_bytes())
    for i, pixels in enumerate(vectors["pixels"]):
        patch = np.frombuffer(bytes.fromhex(pixels), np.uint8).reshape(32, 32, 3)
        result = model.run(program, patch)
        if program.task == 1:
            assert model.pack_bits(result).hex() == vectors["bits"][i]
        else:
            assert [int(v) for v in result] == vectors["logits"][i]


def test_gaps_are_a_mask_when_narrow_and_a_list_when_wide():
    kept = np.array([[True, False, True, True, False], [False, False, False, False, True]])
    assert nqe._gaps(kept, 1) == [0, 1, 0, 0, 1, 1, 1, 1, 1, 0]
    assert nqe._gaps(kept, 3) == [0, 1, 0, 7, 4]


def test_shuffled_groups_are_refused():
    with pytest.raises(ValueError, match="1 group only, not with 2"):
        nqe.to_bytes(programs.classifier(programs.TABLES["mixed-groups"]), "groups", ["a"] * 10)


def test_shared_and_pruned_kernels_are_stored_once_and_not_at_all():
    memory = nqe.memory_bits(CHIPS["compressor"][0])
    assert memory["weights"] == 3 * 3072 * 88 + 2 * 4 * 256
    # Seven bits name a channel's kernel; four gaps and what it takes to pass the end say what a bit looks at.
    assert 256 * 5 < memory["wiring"] - 7 * 512 <= 256 * 12 * 7


def test_program_over_budget_is_refused_by_name():
    from patchwire_training.chip.quant import QConv

    chip = Chip(
        QConv(3, 256, 4, stride=4, levels=5, pixels=True),
        QConv(256, 256, 3, padding=1, levels=3),
        QConv(256, 256, 8, levels=2, output="bits"),
    )
    with pytest.raises(nqe.OverBudget, match=r"1048576 are there; layer 2 has the most weights, 4194304 bits"):
        nqe.to_bytes(chip, "big", [])


def test_damaged_program_is_refused():
    chip, labels = CHIPS["random-bits"]
    file = bytearray(nqe.to_bytes(chip, "x", labels))
    file[40] ^= 1
    with pytest.raises(model.BadProgram, match="digest"):
        model.parse(bytes(file))
