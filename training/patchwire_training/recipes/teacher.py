"""Train the classifier's teacher: ``python -m patchwire_training.recipes.teacher --data DIR --out RUN``.

A full-precision network of 2 M parameters whose first layer whitens 2x2 pixels, after the manner of Jordan, "94% on
CIFAR-10 in 3.29 seconds on a single GPU", 2024. Its logits for some views of every image, held-out ones too, are
stored, and `train_classify --teacher RUN` learns from these views.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from ..data import cifar10
from ..fit.epochs import Epochs
from ..fit.muon import Muon
from ..data.views import Views, draw_views, show

MEAN, SPREAD = 120.7, 64.1
"""Of the training pixels."""
KEPT_VIEWS = 8
"""Views of an image for which the teacher's word is kept."""
WORD = "word.npz"


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def _block(inputs: int, outputs: int) -> nn.Sequential:
    conv = lambda i: nn.Conv2d(i, outputs, 3, padding=1, bias=False)
    return nn.Sequential(
        conv(inputs), nn.MaxPool2d(2), _norm(outputs), nn.GELU(), conv(outputs), _norm(outputs), nn.GELU()
    )


class Teacher(nn.Module):
    """Pixels [n, 3, 32, 32], 0 to 255, to logits [n, 10]."""

    def __init__(self, widths: tuple[int, int, int] = (64, 256, 256)):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        first, second, third = widths
        self.blocks = nn.Sequential(_block(24, first), _block(first, second), _block(second, third))
        self.head = nn.Linear(third, 10, bias=False)

    @torch.no_grad()
    def set_whitening(self, images: Tensor) -> None:
        """Take the principal directions of the images' 2x2 pixels, each with either sign, to unit variance."""
        x = (images.float() - MEAN) / SPREAD
        columns = F.unfold(x, 2).transpose(1, 2).reshape(-1, 12)
        values, vectors = torch.linalg.eigh(columns.T @ columns / len(columns))
        filters = (vectors / (values + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        self.whiten.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.whiten((x - MEAN) / SPREAD))
        x = F.max_pool2d(self.blocks(x), 3).flatten(1)
        return self.head(x) / 9


@torch.no_grad()
def accuracy(teacher: Teacher, images: Tensor, labels: Tensor) -> float:
    """Share of images labelled rightly, seen straight and mirrored."""
    teacher.eval()
    with torch.autocast("cpu", torch.bfloat16):
        right = sum(
            ((teacher(x.float()) + teacher(x.flip(3).float())).argmax(1) == y).sum().item()
            for x, y in zip(images.split(500), labels.split(500))
        )
    teacher.train()
    return right / len(images)


@dataclass(frozen=True)
class Word:
    """Views of every image with the teacher's logits: shift [views, 2, n], flip [views, n], logits [views, n, 10]."""

    shift: Tensor
    flip: Tensor
    logits: Tensor

    def draw(self, images: Tensor, generator: torch.Generator) -> tuple[Views, Tensor]:
        """One view at random of each image with these indices, and its logits [len(images), 10]."""
        view = torch.randint(0, len(self.flip), (len(images),), generator=generator)
        return Views(self.shift[view, :, images].T, self.flip[view, images]), self.logits[view, images]

    def save(self, run: Path) -> None:
        """Write it into the teacher's run."""
        np.savez(
            run / WORD,
            shift=self.shift.to(torch.uint8).numpy(),
            flip=self.flip.numpy(),
            logits=self.logits.half().numpy(),
        )

    @staticmethod
    def load(run: Path) -> Word:
        """Read what :meth:`save` wrote."""
        with np.load(run / WORD) as kept:
            shift, flip, logits = (torch.from_numpy(kept[name]) for name in ("shift", "flip", "logits"))
        return Word(shift.long(), flip, logits.float())


@torch.no_grad()
def word(teacher: Teacher, images: Tensor, generator: torch.Generator) -> Word:
    """The teacher's logits for :data:`KEPT_VIEWS` views of each image."""
    teacher.eval()
    kept: list[tuple[Views, Tensor]] = []
    for _ in tqdm(range(KEPT_VIEWS), desc="views"):
        views = draw_views(len(images), generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = [teacher(show(images[i], views.of(i))).float() for i in torch.arange(len(images)).split(500)]
        kept.append((views, torch.cat(logits)))
    shift, flip = torch.stack([v.shift for v, _ in kept]), torch.stack([v.flip for v, _ in kept])
    return Word(shift, flip, torch.stack([logits for _, logits in kept]))


def main() -> None:
    """Train, checkpoint every epoch, resume where the run stopped, and store the teacher's logits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of fetch-cifar10")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=0.05, help="peak, of convolutions, in radians a step")
    parser.add_argument("--rest-lr", type=float, default=4e-3, help="peak, of biases and of the last layer")
    parser.add_argument("--smoothing", type=float, default=0.1, help="of the labels")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    images, labels = (torch.from_numpy(a) for a in cifar10.load(args.data, "train"))
    held_images, held_labels = (torch.from_numpy(a) for a in cifar10.load(args.data, "validation"))

    teacher = Teacher().to(memory_format=torch.channels_last)
    teacher.set_whitening(images[:5000])
    kernels = [p for p in teacher.blocks.parameters() if p.ndim == 4]
    rest = [p for p in teacher.parameters() if p.requires_grad and all(p is not k for k in kernels)]
    optimizers = [Muon(kernels, args.lr), torch.optim.Adam(rest, args.rest_lr)]
    peaks = [args.lr, args.rest_lr]
    run = Epochs(args.out, args.epochs, len(images), args.batch, optimizers, peaks, generator)
    if state := run.resume():
        teacher.load_state_dict(state["teacher"])

    def loss_of(batch: Tensor) -> Tensor:
        x = show(images[batch], draw_views(len(batch), generator)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = teacher(x)
        return F.cross_entropy(logits.float(), labels[batch], label_smoothing=args.smoothing)

    run.train(
        loss_of,
        end=lambda *_: {"validation": accuracy(teacher, held_images, held_labels)},
        state=lambda: {"teacher": teacher.state_dict()},
    )
    both, _ = cifar10.load(args.data, "both")
    word(teacher, torch.from_numpy(both), generator).save(args.out)


if __name__ == "__main__":
    main()
