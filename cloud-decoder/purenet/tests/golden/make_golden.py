"""Makes the golden decoders and frames of `purenet`: PyTorch is the reference.

    pip install numpy torch safetensors && python make_golden.py
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).parent
PATCH = 32
# Every kind of stage and every option.
FULL = {
    "stages": [
        {
            "kind": "patch_linear",
            "name": "synthesis",
            "bits": 16,
            "prefixes": [8],
            "hidden": 8,
            "grid": 8,
            "channels": 48,
        },
        {"kind": "conv", "name": "head", "in": 48, "out": 16, "kernel": 3, "relu": True},
        {"kind": "residual", "name": "body8.0", "channels": 16, "kernel": 5},
        {"kind": "conv", "name": "up", "in": 16, "out": 72, "kernel": 1, "relu": True},
        {"kind": "pixel_shuffle", "factor": 2},
        {"kind": "join", "name": "join", "in": 12, "channels": 18, "kernel": 3},
        {"kind": "residual", "name": "body4.0", "channels": 18, "kernel": 3},
        {"kind": "conv", "name": "tail", "in": 18, "out": 12, "kernel": 5, "relu": False},
        {"kind": "pixel_shuffle", "factor": 2},
    ],
    "base": {"channels": 48, "factor": 4},
}
# No option.
PLAIN = {
    "stages": [
        {"kind": "patch_linear", "name": "synthesis", "bits": 16, "grid": 4, "channels": 8},
        {"kind": "conv", "name": "tail", "in": 8, "out": 192, "kernel": 1, "relu": False},
        {"kind": "pixel_shuffle", "factor": 8},
    ]
}


def layer(name: str, out: int, inputs: int, kernel: int | None) -> dict[str, torch.Tensor]:
    shape = (out, inputs) if kernel is None else (out, inputs, kernel, kernel)
    weight = torch.randn(shape) / np.sqrt(np.prod(shape[1:]))
    return {f"{name}.weight": weight, f"{name}.bias": 0.1 * torch.randn(out)}


def tensors(layout: dict) -> dict[str, torch.Tensor]:
    out = {}
    for stage in layout["stages"]:
        match stage:
            case {"kind": "patch_linear", "name": name, "bits": bits, "grid": grid, "channels": channels}:
                if hidden := stage.get("hidden"):
                    out |= layer(f"{name}.hidden", hidden, bits, None)
                out |= layer(name, grid * grid * channels, hidden or bits, None)
                out[f"{name}.weight"] *= 0.3
                out[f"{name}.bias"] += 0.5
            case {"kind": "conv", "name": name, "in": inputs, "out": outputs, "kernel": kernel}:
                out |= layer(name, outputs, inputs, kernel)
            case {"kind": "join", "name": name, "in": inputs, "channels": channels, "kernel": kernel}:
                out |= layer(name, channels, inputs, kernel)
            case {"kind": "residual", "name": name, "channels": channels, "kernel": kernel}:
                out |= layer(f"{name}.conv1", channels, channels, kernel)
                out |= layer(f"{name}.conv2", channels, channels, kernel)
    return out


def decode(
    layout: dict, w: dict[str, torch.Tensor], latents: np.ndarray, width: int, height: int
) -> torch.Tensor:
    """latents: bytes, shape (patch rows, patch columns, bits / 8). Returns (3, height, width)."""

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        weight = w[f"{name}.weight"]
        return F.conv2d(x, weight, w[f"{name}.bias"], padding=weight.shape[-1] // 2)

    x = base = torch.empty(0)
    for stage in layout["stages"]:
        name = stage.get("name")
        match stage["kind"]:
            case "patch_linear":
                signs = torch.from_numpy(np.unpackbits(latents, axis=-1, bitorder="little")).float() * 2 - 1
                rows, columns, given = signs.shape
                signs = F.pad(signs, (0, stage["bits"] - given))
                grid, channels = stage["grid"], stage["channels"]
                if "hidden" in stage:
                    signs = F.relu(F.linear(signs, w[f"{name}.hidden.weight"], w[f"{name}.hidden.bias"]))
                maps = F.linear(signs, w[f"{name}.weight"], w[f"{name}.bias"])
                maps = maps.reshape(rows, columns, grid, grid, channels).permute(4, 0, 2, 1, 3)
                x = base = maps.reshape(1, channels, rows * grid, columns * grid)
            case "conv":
                x = conv(name, x)
                x = F.relu(x) if stage["relu"] else x
            case "residual":
                x = x + conv(f"{name}.conv2", F.relu(conv(f"{name}.conv1", x)))
            case "join":
                frame = F.pixel_shuffle(base, layout["base"]["factor"])
                x = x + conv(name, F.pixel_unshuffle(frame, frame.shape[-1] // x.shape[-1]))
            case "pixel_shuffle":
                x = F.pixel_shuffle(x, stage["factor"])
    if "base" in layout:
        x = x + F.pixel_shuffle(base, layout["base"]["factor"])
    return x[0, :, :height, :width]


def main() -> None:
    torch.manual_seed(7)
    rng = np.random.default_rng(7)
    frames = {}
    for file, layout, sizes in [("full", FULL, [(96, 64), (70, 45)]), ("plain", PLAIN, [(70, 45)])]:
        weights = tensors(layout)
        metadata = {
            "format": "patchwire-decoder-1",
            "program": bytes(range(32)).hex(),
            "stages": json.dumps(layout),
        }
        save_file(weights, HERE / f"{file}.safetensors", metadata)
        for width, height in sizes:
            shape = (-(-height // PATCH), -(-width // PATCH), layout["stages"][0]["bits"] // 8)
            latents = rng.integers(0, 256, shape, dtype=np.uint8)
            name = f"{file}.{width}x{height}"
            frames[f"{name}.latents"] = torch.from_numpy(latents)
            frames[f"{name}.planes"] = decode(layout, weights, latents, width, height).contiguous()
        for prefix in layout["stages"][0].get("prefixes", []):
            latents = np.ascontiguousarray(latents[..., : prefix // 8])
            frames[f"{file}.prefix.latents"] = torch.from_numpy(latents)
            frames[f"{file}.prefix.planes"] = decode(layout, weights, latents, width, height).contiguous()
    save_file(frames, HERE / "frames.safetensors")


if __name__ == "__main__":
    main()
