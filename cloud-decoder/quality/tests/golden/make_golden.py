"""Makes the golden images and values of `quality`: scikit-image and pytorch-msssim are the references.

    pip install numpy pillow scikit-image torch pytorch-msssim && python make_golden.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch_msssim import ms_ssim
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

HERE = Path(__file__).parent


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def scene(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Smooth colored noise with a few hard edges."""
    noise = np.stack([gaussian_filter(rng.normal(size=(height, width)), 9) for _ in range(3)], -1)
    noise = 110 + 60 * noise / noise.std()
    noise[height // 3 : height // 2, width // 4 : width // 2] += 50
    return np.clip(np.round(noise), 0, 255).astype(np.uint8)


def blocky(image: np.ndarray) -> np.ndarray:
    """Quantizes coarsely and adds an offset to each 32 x 32 patch: visible seams."""
    out = (image // 12 * 12 + 6).astype(np.int64)
    for y in range(0, out.shape[0], 32):
        for x in range(0, out.shape[1], 32):
            out[y : y + 32, x : x + 32] += (7 * (x // 32) + 5 * (y // 32)) % 13 - 6
    return np.clip(out, 0, 255).astype(np.uint8)


def seams(rgb: np.ndarray, patch: int = 32) -> float | None:
    """Independent form: slices of the two difference images."""
    y = luma(rgb)
    border, inside = [], []
    for plane in (y, y.T):
        steps = np.abs(np.diff(plane, axis=1))  # steps[:, x - 1] is from x - 1 to x
        if plane.shape[1] > patch:
            border.append(steps[:, patch - 1 :: patch].ravel())
            inside.append(steps[:, patch // 2 - 1 :: patch].ravel())
    if not border:
        return None
    mean = [max(np.concatenate(parts).mean(), 1 / 16) for parts in (border, inside)]
    return mean[0] / mean[1]


def torch_plane(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(luma(rgb))[None, None]


def main() -> None:
    rng = np.random.default_rng(7)
    a = scene(rng, 192, 176)
    odd = scene(rng, 189, 181)
    small = scene(rng, 45, 23)
    images = {
        "scene": a,
        "blocky": blocky(a),
        "noisy": np.clip(a + rng.normal(0, 1.5, a.shape), 0, 255).round().astype(np.uint8),
        "inverted": 255 - a,
        "odd": odd,
        "odd-blocky": blocky(odd),
        "small": small,
        "small-blocky": blocky(small),
    }
    for name, image in images.items():
        Image.fromarray(image).save(HERE / f"{name}.png", optimize=True)
    pairs = [
        ("scene", "blocky"),
        ("scene", "noisy"),
        ("scene", "inverted"),
        ("odd", "odd-blocky"),
        ("small", "small-blocky"),
    ]
    values = []
    for names in pairs:
        first, second = (images[name] for name in names)
        height, width, _ = first.shape
        multi = None
        if min(width, height) >= 176:
            multi = ms_ssim(torch_plane(first), torch_plane(second), data_range=255).item()
        values.append({
            "original": names[0],
            "reconstruction": names[1],
            "psnr_db": peak_signal_noise_ratio(first, second, data_range=255),
            "ssim": structural_similarity(
                luma(first), luma(second), gaussian_weights=True, sigma=1.5,
                use_sample_covariance=False, data_range=255,
            ),
            "ms_ssim": multi,
            "seam_ratio": seams(second),
            "original_seam_ratio": seams(first),
        })
    (HERE / "golden.json").write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
