"""Train the classification program: ``python -m patchwire_training.recipes.train_classify --data DIR --out RUN``."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import cifar10
from ..fit.epochs import Epochs
from ..models import programs
from ..fit.muon import Muon
from ..chip.quant import Chip, Mode, heq_step, least_squares_step
from ..recipes.teacher import Word
from ..data.views import draw_views, show

SETTLE_IMAGES, SETTLE_IN_PASSING = 8192, 2048
"""Training images over which the means are taken in the end, and before each validation."""
STEPS = {"heq": heq_step, "least-squares": least_squares_step}
TEMPERATURE, TEACHER_SHARE = 2.0, 0.8
"""Of distillation: the softening of both networks' logits, and the weight of what the teacher says."""


def distilled(logits: Tensor, labels: Tensor, said: Tensor) -> Tensor:
    """Cross-entropy with the labels and with the teacher's softened probabilities, from logits [n, 10] of both.

    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015.
    """
    soft = F.cross_entropy(logits / TEMPERATURE, (said / TEMPERATURE).softmax(1)) * TEMPERATURE**2
    return TEACHER_SHARE * soft + (1 - TEACHER_SHARE) * F.cross_entropy(logits, labels)


@torch.no_grad()
def accuracy(chip: Chip, images: Tensor, labels: Tensor) -> float:
    """Share of images that the exported integers label rightly."""
    with chip.exactly():
        right = sum(
            (chip(x.float().contiguous(memory_format=torch.channels_last)).flatten(1).argmax(1) == y).sum().item()
            for x, y in zip(images.split(250), labels.split(250))
        )
    return right / len(images)


def main() -> None:
    """Train, checkpoint every epoch, resume where the run stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of fetch-cifar10")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--start", type=Path, help="weights to begin with: of starts/, or a checkpoint")
    parser.add_argument("--teacher", type=Path, help="run folder of a teacher to learn from")
    parser.add_argument("--both", action="store_true", help="learn from the held-out images too, in a last round")
    parser.add_argument("--table", choices=programs.TABLES, default="mirrored", help="of the layers")
    parser.add_argument("--step", choices=STEPS, default="heq", help="what sets the step of the weights")
    parser.add_argument("--optimizer", choices=("muon", "adam"), default="muon", help="of the hidden weights")
    parser.add_argument("--float-epochs", type=int, default=0, help="first epochs, with weights not yet quantized")
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--exact-epochs", type=int, default=1, help="last epochs, in float32 with frozen shifts")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.02, help="peak, of hidden weights, in radians a step of Muon")
    parser.add_argument("--rest-lr", type=float, default=6e-3, help="peak, of biases and of the last layer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    images, labels = (torch.from_numpy(a) for a in cifar10.load(args.data, "both" if args.both else "train"))
    held_images, held_labels = (torch.from_numpy(a) for a in cifar10.load(args.data, "validation"))

    word = Word.load(args.teacher) if args.teacher else None

    chip = programs.classifier(programs.TABLES[args.table]).to(memory_format=torch.channels_last)
    if args.start:
        start = torch.load(args.start)
        chip.load_state_dict(start.get("chip", start))
    for layer, _ in chip.stages():
        layer.step_of = STEPS[args.step]
    # Training only: the chip compares logits as they are, so a common positive factor changes nothing.
    gain = torch.nn.Parameter(torch.tensor(-0.9))
    *hidden, last = [layer.weight for layer, _ in chip.stages()]
    betas = [layer.beta for layer, _ in chip.stages()]
    optimizers = [
        Muon(hidden, args.lr) if args.optimizer == "muon" else torch.optim.Adam(hidden, args.lr),
        torch.optim.Adam([*betas, last, gain], args.rest_lr),
    ]
    peaks = [args.lr, args.rest_lr]
    run = Epochs(args.out, args.epochs, len(images), args.batch, optimizers, peaks, generator, least=0.002)
    if state := run.resume():
        chip.load_state_dict(state["chip"])
        gain.data.copy_(state["gain"])
    exact = False

    def begin(epoch: int) -> None:
        nonlocal exact
        chip.set_mode(Mode.FLOAT if epoch < args.float_epochs else Mode.QUANT)
        exact = epoch >= args.epochs - args.exact_epochs
        if exact:
            chip.freeze_shifts()

    def loss_of(batch: Tensor) -> Tensor:
        views, said = word.draw(batch, generator) if word else (draw_views(len(batch), generator), None)
        x = show(images[batch], views).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=not exact):
            logits = chip(x).flatten(1) * gain.exp()
        logits, right = logits.float(), labels[batch]
        return F.cross_entropy(logits, right) if said is None else distilled(logits, right, said)

    def end(epoch: int, order: Tensor) -> dict:
        settling = order[: SETTLE_IMAGES if epoch + 1 == args.epochs else SETTLE_IN_PASSING]
        chip.settle_means(show(images[settling], draw_views(len(settling), generator)))
        return {"learnt" if args.both else "validation": accuracy(chip, held_images, held_labels)}

    def state_of() -> dict:
        return {"table": args.table, "chip": chip.state_dict(), "gain": gain.data}

    run.train(loss_of, end, state_of, begin)


if __name__ == "__main__":
    main()
