"""A tiny painter of datasets, so that each test says only what matters to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Paint = Callable[..., Path]


@pytest.fixture
def paint(tmp_path: Path) -> Paint:
    """Write a photo (or a mask, given an array) below tmp_path; each name gets its own pixels."""

    def write(name: str, array: np.ndarray | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if array is None:
            seed = int.from_bytes(name.encode()[-8:], "big")
            coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC).save(path)
        else:
            Image.fromarray(array).save(path)
        return path

    return write


@pytest.fixture
def spot() -> np.ndarray:
    """A mask for a painted photo, with one defect."""
    mask = np.zeros((40, 48), np.uint8)
    mask[10:20, 12:30] = 255
    return mask
