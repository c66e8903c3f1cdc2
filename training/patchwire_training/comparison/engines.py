"""Engines to compare: `patchwire` itself, ONNX Runtime on its exports, and PyTorch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from PIL import Image

from ..models.decoder import Decoder
from ..fit.processor import cpu_flags

ROOT = Path(__file__).parents[3]
PATCH = 32
Run = Callable[[], object]


def patchwire(*arguments: object) -> str:
    """Runs `patchwire` and returns its output: the binary that $PATCHWIRE names, else this checkout's release build."""
    cargo = ["cargo", "run", "--release", "--quiet", "--manifest-path", ROOT / "Cargo.toml", "--"]
    command = [os.environ["PATCHWIRE"]] if "PATCHWIRE" in os.environ else cargo
    return subprocess.run([*command, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


def session(model: Path, threads: int = 1) -> ort.InferenceSession:
    """ONNX Runtime on the CPU with all its optimizations; its threads sleep between runs, so others run alone."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def channels_first(maps: np.ndarray) -> np.ndarray:
    """[n, rows, columns, channels] as [n, channels, rows, columns]."""
    return np.ascontiguousarray(maps.transpose(0, 3, 1, 2))


def patches(image: Image.Image) -> np.ndarray:
    """The patches of a frame in the layout of the encoder's model, [n, 3, 32, 32] u8; edges are repeated."""
    sides = ((0, -image.height % PATCH), (0, -image.width % PATCH), (0, 0))
    pixels = np.pad(np.asarray(image.convert("RGB")), sides, mode="edge")
    rows, columns = pixels.shape[0] // PATCH, pixels.shape[1] // PATCH
    parts = pixels.reshape(rows, PATCH, columns, PATCH, 3).swapaxes(1, 2)
    return channels_first(parts.reshape(-1, PATCH, PATCH, 3))


def latents(encoder: ort.InferenceSession, image: Image.Image) -> np.ndarray:
    """The latents of a frame in the layout of the decoder's model, [1, bits, rows, columns] of -1 and 1."""
    bits = encoder.run(None, {"pixels": patches(image)})[0]
    rows = -(-image.height // PATCH)
    return channels_first(2 * bits.reshape(1, rows, -1, bits.shape[1]).astype(np.float32) - 1)


def dot_products() -> bool:
    """Whether products of u8 and s8 are summed in 32 bits; ONNX Runtime else sums pairs in 16, which overflow."""
    return bool({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"} & cpu_flags())


def quantized(model: Path, out: Path, examples: list[np.ndarray]) -> Path:
    """The decoder's model with u8 activations and s8 weights per channel, by ONNX Runtime's own tool on these latents.

    Weights have 7 bits where 8 would overflow.
    """
    from onnxruntime import quantization as q

    class Examples(q.CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[np.ndarray] = iter(examples)

        def get_next(self) -> dict | None:
            example = next(self.left, None)
            return None if example is None else {"latents": example}

    kinds = {"activation_type": q.QuantType.QUInt8, "weight_type": q.QuantType.QInt8}
    options = {"per_channel": True, "reduce_range": not dot_products()}
    q.quantize_static(str(model), str(out), Examples(), q.QuantFormat.QDQ, **options, **kinds)
    return out


def torch_decoder(file: Path, precision: torch.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """The trainer's decoder, on as many threads as PyTorch is set to at the call."""
    decoder = Decoder.load(file).eval().to(precision).to(memory_format=torch.channels_last)

    def run(maps: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return decoder(torch.from_numpy(maps).to(precision)).float().numpy()

    return run
