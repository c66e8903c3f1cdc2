"""The comparison measures every engine. How fast is not judged here."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import bench_peers
import pytest

FOLDER = Path(__file__).parents[1]


def test_every_engine_is_measured(tmp_path, capsys):
    bench_peers.main(["--rounds", "1", "--seconds", "0", "--json", str(tmp_path / "report.json")])
    report = json.loads((tmp_path / "report.json").read_text())
    single = {(row["task"], row["engine"].split(",")[0]) for row in report["rows"] if row["threads"] == 1}
    for task in ("compression", "classification", "decoder", "fast decoder"):
        assert (task, "Patchwire") in single
    for peer in [("compression", "ONNX Runtime int8"), ("classification", "ONNX Runtime int8")]:
        assert peer in single
    assert {("decoder", "ONNX Runtime fp32"), ("decoder", "ONNX Runtime u8s8")} <= single
    assert {("fast decoder", "ONNX Runtime fp32"), ("fast decoder", "ONNX Runtime u8s8")} <= single
    assert sum(task == "decoder" for task, _ in single) == 4
    assert sum(task == "image codec" for task, _ in single) == 3
    for row in report["rows"]:
        assert row["per_s"] > 0 and row["ours"] > 0, row
    # Coarse, as 8 bits are, but the same picture.
    assert all(db > 20 for db in report["psnr_to_fp32"].values()), report["psnr_to_fp32"]
    assert len(capsys.readouterr().out.splitlines()) == 6 + len(report["rows"])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the tiles are x86-64's")
def test_without_amx_the_tiles_are_refused_to_a_script_and_what_it_starts(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, subprocess, sys\n"
        "from patchwire_training.comparison import without_amx\n"
        "print(without_amx.allowed(), os.environ['PATCHWIRE_KERNEL'], *sys.argv[1:], flush=True)\n"
        "again = 'from patchwire_training.comparison import without_amx; print(without_amx.allowed())'\n"
        "subprocess.run([sys.executable, '-c', again], check=True)\n"
    )
    command = [sys.executable, "-m", "patchwire_training.comparison.without_amx", str(script), "--an", "argument"]
    found = subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, text=True).stdout
    assert found.splitlines() == ["False avx512vnni --an argument", "False"]
