"""Compares this project's encoder and decoder with other engines that run the same networks, and with image codecs.

``python bench_peers.py`` measures a frame of 1280x720, on one core and on all:

- the compression and the classification program: `patchwire bench`, and ONNX Runtime int8 on `patchwire export --onnx`
  (the same bits; pruned weights are zeros there);
- the decoders, large and fast: `patchwire bench`, ONNX Runtime fp32 on `patchwire export --onnx`, ONNX Runtime u8s8 as
  its static quantization makes it of that, and for the large one PyTorch in bf16 on the full-precision weights, or in
  fp32 where the processor has no bf16;
- JPEG (libjpeg-turbo), WebP and AVIF encoding of the frame, at Pillow's default effort and the bytes of our latents.

All take turns, round by round; a figure is the median of the rounds. Ours begin at the frame's bytes and end at packed
bits or 8-bit RGB; the other networks begin and end at tensors. Run it on a machine that does nothing else. On one with
AMX, ``python -m patchwire_training.comparison.without_amx bench_peers.py`` measures all of them on VNNI.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
import PIL
import torch
from PIL import Image, features

from patchwire_training.comparison import engines, peers, without_amx
from patchwire_training.fit import processor

WIDTH, HEIGHT = 1280, 720
SAMPLES = engines.ROOT / "cli/samples"
BATCHES = (16, 64, 256, 1024)
"""Patches that the encoder's peer gets at once: the fastest of these counts."""
DEFAULT_EFFORT = {"JPEG": {}, "WEBP": {"method": 4}, "AVIF": {"speed": 6, "max_threads": 1}}


@dataclass
class Row:
    """An engine at a task; `rates` are of the rounds, in `unit` a second."""

    task: str
    engine: str
    threads: int
    unit: str
    rates: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rates)


def seconds_of(work: engines.Run, span: float) -> float:
    """The median time of `work`, done at least once and for as long as `span` seconds."""
    times: list[float] = []
    started = time.perf_counter()
    while not times or time.perf_counter() - started < span:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def ours(span: float) -> dict[tuple[str, int], tuple[str, float]]:
    """The results of `patchwire bench`: for each task and number of threads, the fastest path and its rate."""
    report = json.loads(engines.patchwire("bench", "--networks", "--seconds", max(1, round(span)), "--json", "-"))
    patches = -(-WIDTH // 32) * -(-HEIGHT // 32)
    found = {}
    for row in report["encoder"]:
        whole = row["task"] == "compression"
        key, rate = (row["task"], row["threads"]), row["patches_per_s"] / (patches if whole else 1)
        found[key] = max(found.get(key, ("", 0.0)), (row["path"], rate), key=lambda best: best[1])
    for row in report["decoder"]:
        task = {"large": "decoder", "fast": "fast decoder"}[row["decoder"]]
        key, rate = (task, row["threads"]), row["megapixels_per_s"] * 1e6 / (WIDTH * HEIGHT)
        found[key] = max(found.get(key, ("", 0.0)), (row["path"], rate), key=lambda best: best[1])
    return found


def encoder(model: Path, threads: int, pixels: np.ndarray) -> engines.Run:
    """ONNX Runtime on all patches of a frame, in batches of its fastest size."""
    session = engines.session(model, threads)

    def run(size: int) -> None:
        for start in range(0, len(pixels), size):
            session.run(None, {"pixels": pixels[start : start + size]})

    # The first run of a size also allocates its memory.
    timed = {size: min(seconds_of(partial(run, size), 0) for _ in range(3)) for size in BATCHES}
    best = min(timed, key=timed.get)
    return partial(run, best)


def codecs(image: Image.Image) -> dict[str, engines.Run]:
    """Encoders of a frame, each at the largest quality that takes at most the bytes of our latents."""
    budget = len(engines.patches(image)) * peers.PATCH_BITS // 8
    found = {}
    for kind, effort in DEFAULT_EFFORT.items():
        code = partial(peers.encode, image, kind, **effort)
        above = peers.bisect_right(range(1, 101), budget, key=lambda quality: len(code(quality=quality)))
        quality = max(above, 1)
        found[f"{kind} quality {quality}"] = partial(code, quality=quality)
    return found


def on_threads(threads: int, work: Callable[[np.ndarray], object], maps: np.ndarray) -> object:
    """PyTorch's number of threads is the process's."""
    torch.set_num_threads(threads)
    return work(maps)


def psnr(picture: np.ndarray, reference: np.ndarray) -> float:
    """dB, of values from 0 to 1."""
    return float(-10 * np.log10(np.square(picture.clip(0, 1) - reference.clip(0, 1)).mean()))


def contenders(folder: Path, image: Image.Image, threads: Sequence[int]) -> tuple[list[tuple[Row, engines.Run]], dict]:
    """The other engines, and the PSNR in dB of less precise decoders against fp32."""
    engines.patchwire("export", "--onnx", folder)
    pixels = engines.patches(image)
    one = engines.session(folder / "compress.onnx")
    maps = engines.latents(one, image)
    photographs = [Image.open(path).crop((0, 0, 256, 256)) for path in sorted(SAMPLES.glob("*.jpg"))]
    examples = [engines.latents(one, photograph) for photograph in photographs]
    u8s8_name = "u8s8" if engines.dot_products() else "u8s8, 7-bit weights"
    decoders = {}
    for task, file in {"decoder": "decoder", "fast decoder": "fast"}.items():
        fp32 = folder / f"{file}.onnx"
        decoders[task, "fp32"] = fp32
        decoders[task, u8s8_name] = engines.quantized(fp32, folder / f"{file}-u8s8.onnx", examples)
    precision = processor.torch_precision()
    pytorch = engines.torch_decoder(engines.ROOT / "training/starts/shipped/decoder.safetensors", precision)
    torch_name = f"PyTorch {'bf16' if precision == torch.bfloat16 else 'fp32, no bf16 here'}"

    found: list[tuple[Row, engines.Run]] = []
    for n in threads:
        row = partial(Row, threads=n, unit="frames")
        work = encoder(folder / "compress.onnx", n, pixels)
        found.append((row("compression", f"ONNX Runtime int8, {work.args[0]} patches at once"), work))
        for (task, name), model in decoders.items():
            session = engines.session(model, n)
            found.append((row(task, f"ONNX Runtime {name}"), partial(session.run, None, {"latents": maps})))
        found.append((row("decoder", torch_name), partial(on_threads, n, pytorch, maps)))
    session = engines.session(folder / "classify.onnx")
    classify = partial(session.run, None, {"pixels": pixels[:1]})
    found.append((Row("classification", "ONNX Runtime int8", 1, "patches"), classify))
    for name, work in codecs(image).items():
        found.append((Row("image codec", name, 1, "frames"), work))
    decoded = lambda task, name: engines.session(decoders[task, name]).run(None, {"latents": maps})[0]
    reference = decoded("decoder", "fp32")
    distances = {
        f"ONNX Runtime {u8s8_name}": psnr(decoded("decoder", u8s8_name), reference),
        f"ONNX Runtime {u8s8_name}, fast": psnr(decoded("fast decoder", u8s8_name), decoded("fast decoder", "fp32")),
        torch_name: psnr(pytorch(maps), reference),
    }
    return found, distances


def measure(rounds: int, span: float) -> dict:
    """The report."""
    cores = len(os.sched_getaffinity(0))
    threads = [1, cores] if cores > 1 else [1]
    with Image.open(SAMPLES / "lake.jpg") as photograph:
        image = photograph.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    mine: dict[tuple[str, int], Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        others, distances = contenders(Path(folder), image, threads)
        for _, work in others:
            work()
        for _ in range(rounds):
            for (task, n), (path, rate) in ours(span).items():
                unit = "patches" if task == "classification" else "frames"
                row = mine.setdefault((task, n), Row(task, f"Patchwire, {path}", n, unit))
                row.rates.append(rate)
            for row, work in others:
                row.rates.append(1 / seconds_of(work, span))
    rows = [*mine.values(), *(row for row, _ in others)]
    order = ["compression", "classification", "decoder", "fast decoder", "image codec"]
    rows.sort(key=lambda row: (order.index(row.task), row.threads))
    return {
        "machine": machine(cores),
        "rounds": rounds,
        "seconds": span,
        "psnr_to_fp32": distances,
        "rows": [described(row, mine) for row in rows],
    }


def described(row: Row, mine: dict[tuple[str, int], Row]) -> dict:
    """A row of the report; `ours` is our speed relative to it (for codecs, our encoder's with as many threads)."""
    task = "compression" if row.task == "image codec" else row.task
    ratio = mine[task, row.threads].rate / row.rate
    return {
        "task": row.task,
        "engine": row.engine,
        "threads": row.threads,
        "unit": row.unit,
        "per_s": row.rate,
        "runs": row.rates,
        "ours": ratio,
    }


def machine(cores: int) -> dict:
    """Processor and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    tiles = without_amx.allowed()
    x86 = {"avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"}
    told = x86 | {"asimddp", "bf16", "i8mm"}
    return {
        "cpu": model,
        "cores": cores,
        "flags": sorted(flag for flag in told & processor.cpu_flags() if not flag.startswith("amx") or tiles),
        "load": os.getloadavg()[0],
        "versions": {
            "patchwire": engines.patchwire("--version").split()[-1],
            "onnxruntime": ort.__version__,
            "torch": torch.__version__,
            "pillow": PIL.__version__,
            "libjpeg-turbo": features.version("libjpeg_turbo"),
            "webp": features.version("webp"),
            "avif": features.version("avif"),
        },
    }


def markdown(report: dict) -> str:
    """The report as tables to read."""
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    distances = ", ".join(f"{name} {db:.1f} dB" for name, db in report["psnr_to_fp32"].items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {' '.join(machine['flags'])}; load {machine['load']:.1f}.",
        f"{versions}.",
        f"{report['rounds']} rounds of {report['seconds']:g} s each. PSNR to fp32: {distances}.",
        "",
        "| task | engine | threads | a second | ours is faster by |",
        "|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        ratio = "" if row["engine"].startswith("Patchwire") else f"{row['ours']:.2f}"
        rate = f"{row['per_s']:,.1f} {row['unit']}"
        lines.append(f"| {row['task']} | {row['engine']} | {row['threads']} | {rate} | {ratio} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns that each engine gets (default 5)")
    parser.add_argument("--seconds", type=float, default=1, help="length of a turn; of ours at least 1 (default 1)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args(arguments)
    if args.rounds < 1 or args.seconds < 0:
        parser.error("rounds are at least 1, seconds at least 0")
    threads = torch.get_num_threads()
    report = measure(args.rounds, args.seconds)
    torch.set_num_threads(threads)
    print(markdown(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
