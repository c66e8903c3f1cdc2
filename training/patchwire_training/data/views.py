"""Views of CIFAR-10 images to train on: shifted by up to 4 pixels, and mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 4


@dataclass(frozen=True)
class Views:
    """One view an image: rows and columns from the upper left, `shift` [2, n], 0 to 8, and `flip` [n]."""

    shift: Tensor
    flip: Tensor

    def of(self, images: Tensor) -> Views:
        """Those of the images with these indices."""
        return Views(self.shift[:, images], self.flip[images])


def draw_views(n: int, generator: torch.Generator) -> Views:
    """One view at random for each of n images."""
    shift = torch.randint(0, 2 * REACH + 1, (2, n), generator=generator)
    return Views(shift, torch.rand(n, generator=generator) < 0.5)


def show(images: Tensor, views: Views) -> Tensor:
    """The views of u8 images [n, 3, 32, 32], black beyond their borders; float result."""
    n, size = len(images), images.shape[-1]
    padded = F.pad(images, (REACH,) * 4)
    rows = torch.arange(size) + views.shift[0][:, None]
    columns = torch.arange(size) + views.shift[1][:, None]
    columns = torch.where(views.flip[:, None], columns.flip(1), columns)
    picked = padded.permute(0, 2, 3, 1)[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).float()
