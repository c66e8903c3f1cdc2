"""Find the score from which a label is sure.

``python -m patchwire_training.comparison.unsure --model classify.onnx --photos DIR --data CIFAR10``

`classify.onnx` is the program as ``patchwire export --onnx`` writes it. Crops of the validation photographs serve as
frames of which hardly any shows one of the classes. The cost of a threshold is measured on CIFAR-10's training images,
because the shipped program has learned from all images outside the test split.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from ..data import cifar10
from ..data.photos import Photos

CROPS, SIDE = 3000, 256
"""Crops of photographs, and their side in pixels; the chip sees them averaged to 32x32."""
IMAGES = 4000
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def scores(model: Path, images: np.ndarray) -> np.ndarray:
    """Images [n, 3, 32, 32] u8 to softmax scores [n, classes]."""
    told = {entry.key: entry.value for entry in onnx.load(model, load_external_data=False).metadata_props}
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    logits = np.concatenate([session.run(None, {name: images[at : at + 64]})[0] for at in range(0, len(images), 64)])
    logits = logits.reshape(len(images), -1) * 0.5 ** int(told["score_shift"])
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def main() -> None:
    """Print one line per threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    crops = Photos(args.photos, "validation").batch(random.Random(3), CROPS, SIDE).numpy()
    cells = crops.reshape(CROPS, 3, 32, SIDE // 32, 32, SIDE // 32)
    others = scores(args.model, np.floor(cells.mean((3, 5)) + 0.5).astype(np.uint8)).max(1)
    images, labels = cifar10.load(args.data, "train")
    chosen = np.random.default_rng(1).permutation(len(images))[:IMAGES]
    known = scores(args.model, np.ascontiguousarray(images[chosen]))
    right = known.argmax(1) == labels[chosen]
    print("score  photographs called sure  images called sure  of these right")
    for threshold in THRESHOLDS:
        sure = known.max(1) >= threshold
        print(f"{threshold:5.2f}  {(others >= threshold).mean():23.1%}  {sure.mean():18.1%}  {right[sure].mean():14.1%}")


if __name__ == "__main__":
    main()
