"""The loop of the classifier's and the teacher's training: epochs over shuffled batches, a checkpoint after each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import runs


@dataclass
class Epochs:
    """A run of ``epochs`` over ``images`` images. Rates rise for 3 % of it, then fall to ``least`` of their peaks."""

    run: Path
    epochs: int
    images: int
    batch: int
    optimizers: list[torch.optim.Optimizer]
    peaks: list[float]
    generator: torch.Generator
    least: float = 0.0
    first: int = 0

    def resume(self) -> dict | None:
        """The checkpoint of a run that has begun, with optimizers and generator set to it."""
        state = runs.load(self.run)
        if state:
            for optimizer, saved in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
            self.generator.set_state(state["generator"])
            self.first = state["epoch"]
        return state

    def train(
        self,
        loss_of: Callable[[Tensor], Tensor],
        end: Callable[[int, Tensor], dict],
        state: Callable[[], dict],
        begin: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Train from the first missing epoch on.

        ``loss_of`` gives the loss of a batch of indices, ``end`` further figures of an epoch whose images came in this
        order, ``state`` what the checkpoint holds of the model.
        """
        steps = self.images // self.batch
        for epoch in range(self.first, self.epochs):
            begin(epoch)
            started, total = time.time(), 0.0
            order = torch.randperm(self.images, generator=self.generator)[: steps * self.batch]
            for i, batch in enumerate(order.view(steps, self.batch)):
                done = (epoch + i / steps) / self.epochs
                factor = min(1.0, 0.1 + done / 0.03) * (1 - done) + self.least
                for optimizer, peak in zip(self.optimizers, self.peaks):
                    optimizer.param_groups[0]["lr"] = peak * factor
                loss = loss_of(batch)
                for optimizer in self.optimizers:
                    optimizer.zero_grad()
                loss.backward()
                for optimizer in self.optimizers:
                    optimizer.step()
                total += loss.item()
            figures = end(epoch, order)
            runs.log(self.run, {"epoch": epoch + 1, "loss": total / steps} | figures | {"seconds": time.time() - started})
            rest = {
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "generator": self.generator.get_state(),
                "epoch": epoch + 1,
            }
            runs.save(self.run, state() | rest)
