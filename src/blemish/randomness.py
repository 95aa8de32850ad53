"""Private random streams: same seed and names, same numbers, whatever ran before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch


def stream_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that is a pure function of the seed and the names."""
    text = json.dumps([seed, *names], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a private CPU random stream: same seed and names, same numbers, whatever ran before."""
    return torch.Generator("cpu").manual_seed(stream_seed(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a private NumPy random stream: same seed and names, same numbers."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, *names)))


def normal_noise(streams: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """Return standard normal noise, float32 (B, *shape): each row from the stream of its seed."""
    rows = [torch.randn(tuple(shape), generator=torch.Generator().manual_seed(s)) for s in streams]
    return torch.stack(rows)
