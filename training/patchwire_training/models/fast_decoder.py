"""The fast decoder: the same latents as :mod:`..models.decoder`'s, for a thirtieth of its work.

The bits of a patch carry the information of few numbers, and so do the 8x8 pixels that are rebuilt from them. So a
patch becomes `components` numbers, these become the `channels` of each of its 4x4 blocks, and full-frame convolutions
at 1/8 of the resolution do the rest.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.decoder import BASE, BITS, BLOCK, GRID, HIDDEN, Decoder, Residual, conv_stage, residual_stage, synthesis_stage
from ..models.network import Network


class FastDecoder(Network):
    """Latents [n, 256, rows, columns] of -1/+1, 0 where a prefix ends, to RGB [n, 3, 32*rows, 32*columns], 0 to 1."""

    def __init__(self, hidden: int = HIDDEN[2], components: int = 128, channels: int = 32, blocks: int = 3):
        super().__init__()
        self.hidden = nn.Linear(BITS, hidden)
        self.synthesis = nn.Linear(hidden, components)
        self.spread = nn.Conv2d(components, GRID * GRID * channels, 1)
        self.body = nn.ModuleList(Residual(channels) for _ in range(blocks))
        self.tail = nn.Conv2d(channels, BASE, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.synthesis(F.relu(self.hidden(latents.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)
        x = F.pixel_shuffle(self.spread(x), GRID)
        for block in self.body:
            x = block(x)
        return F.pixel_shuffle(self.tail(x), BLOCK)

    def stages(self) -> dict:
        components, channels = self.synthesis.out_features, self.tail.in_channels
        return {
            "stages": [
                synthesis_stage(self.hidden.out_features, 1, components),
                conv_stage("spread", components, GRID * GRID * channels, kernel=1),
                {"kind": "pixel_shuffle", "factor": GRID},
                *(residual_stage(f"body.{i}", channels) for i in range(len(self.body))),
                conv_stage("tail", channels, BASE),
                {"kind": "pixel_shuffle", "factor": BLOCK},
            ]
        }

    @staticmethod
    @torch.no_grad()
    def start(full: Decoder, latents: Tensor) -> FastDecoder:
        """A decoder that approximates the patches which `full` synthesizes, fitted to latents [n, 256] of patches."""
        fast = FastDecoder(hidden=full.hidden.out_features)
        components, channels = fast.synthesis.out_features, fast.tail.in_channels
        maps = full.synthesis(F.relu(full.hidden(latents)))
        mean, basis, scale = principal(maps, components)
        # Positions by channels of a block, whose own principal components are the channels.
        place_mean, places, depth = principal(maps.view(-1, BASE), channels)
        spread = (basis * scale).T.view(components, GRID * GRID, BASE) @ places / depth
        offset = (mean.view(GRID * GRID, BASE) - place_mean) @ places / depth
        fast.hidden.load_state_dict(full.hidden.state_dict())
        fast.synthesis.weight.copy_((basis / scale).T @ full.synthesis.weight)
        fast.synthesis.bias.copy_((full.synthesis.bias - mean) @ basis / scale)
        # As the pixel shuffle reads them: by channel, then place.
        fast.spread.weight.copy_(spread.permute(2, 1, 0).reshape(-1, components, 1, 1))
        fast.spread.bias.copy_(offset.T.reshape(-1))
        fast.tail.weight.zero_()
        fast.tail.weight[:, :, 1, 1] = places * depth
        fast.tail.bias.copy_(place_mean + 0.5)
        return fast


def principal(values: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [d] of values [n, d], their first `count` principal components [d, count], and those' standard deviations."""
    mean = values.mean(0)
    centered = values - mean
    variances, basis = torch.linalg.eigh(centered.T @ centered / len(values))
    return mean, basis.flip(1)[:, :count].contiguous(), variances.flip(0)[:count].clamp_min(1e-12).sqrt()
