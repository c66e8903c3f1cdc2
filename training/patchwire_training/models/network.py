"""The common base of both decoders: their file, as ``docs/formats.md`` describes it."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn


class Network(nn.Module):
    """A decoder whose patch synthesis is `hidden` and `synthesis`."""

    def stages(self) -> dict:
        """The network's description, as the file carries it."""
        raise NotImplementedError

    @classmethod
    def like(cls, state: dict[str, Tensor]) -> Network:
        """A decoder with these weights."""
        decoder = cls(hidden=len(state["hidden.bias"]))
        decoder.load_state_dict(state)
        return decoder

    @classmethod
    def load(cls, path: Path) -> Network:
        """The decoder that :meth:`save` wrote."""
        return cls.like({k.replace("synthesis.hidden.", "hidden.", 1): v for k, v in load_file(str(path)).items()})

    def save(self, path: Path, program: str) -> None:
        """Write the weights for a program's latents, by its id in hex; those of the patch synthesis in half precision."""
        rename = lambda k: k.replace("hidden.", "synthesis.hidden.", 1) if k.startswith("hidden.") else k
        stored = lambda v: (v.detach().half() if v.ndim == 2 else v.detach().float()).contiguous()
        tensors = {rename(k): stored(v) for k, v in self.state_dict().items()}
        metadata = {"format": "patchwire-decoder-1", "program": program, "stages": json.dumps(self.stages())}
        save_file(tensors, str(path), metadata)
