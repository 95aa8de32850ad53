"""Masks of simple shapes, photos that anybody can tell apart, and maps whose quality is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from blemish.experiments.localisation import Maps
from blemish.records import Record

SIDE = 64
LABELS = ("good",) * 8 + ("spot",) * 6 + ("bar",) * 6


def box(shape: tuple[int, int], top: int, left: int, height: int, width: int) -> np.ndarray:
    """Return a mask of a rectangle."""
    mask = np.zeros(shape, np.bool_)
    mask[top : top + height, left : left + width] = True
    return mask


def disc(shape: tuple[int, int], row: int, column: int, radius: int) -> np.ndarray:
    """Return a mask of a disc."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def plain_photo(label: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a grey square, with a white disc where it is a spot and a black bar where it is a bar."""
    rng = np.random.default_rng([index, *label.encode()])
    photo = np.full((SIDE, SIDE, 3), 120.0) + rng.normal(0, 5, (SIDE, SIDE, 3))
    rows, columns = np.ogrid[:SIDE, :SIDE]
    row, column = rng.integers(14, SIDE - 14, 2)
    mask = np.zeros((SIDE, SIDE), np.bool_)
    if label == "spot":
        mask = (rows - row) ** 2 + (columns - column) ** 2 <= 7**2
    elif label == "bar":
        mask = (abs(rows - row) <= 3) & (abs(columns - column) <= 12)
    photo[mask] = 250 if label == "spot" else 10
    return photo.clip(0, 255).astype(np.uint8), mask


def made_maps(skill: float | Mapping[str, float], seed: int) -> Maps:
    """Return maps of 20 photos, 12 pixels wide: noise, plus `skill` (of each type) on the defect."""
    rng = np.random.default_rng(seed)
    maps, masks, scores = [], [], []
    for number, label in enumerate(LABELS):
        mask = np.zeros((12, 12), np.bool_)
        if label != "good":
            top, left = np.random.default_rng(number).integers(0, 8, 2)
            mask[top : top + 4, left : left + 4] = True
        lift = skill if isinstance(skill, float) else skill.get(label, 0.0)
        values = 0.2 * rng.random((12, 12)) + lift * mask
        maps.append(values.astype(np.float32))
        masks.append(mask)
        scores.append(float(values.mean()))
    records = [
        Record(Path(f"{n}.png"), label, "test", None if label == "good" else Path(f"{n}_mask.png"))
        for n, label in enumerate(LABELS)
    ]
    valid = [np.ones((12, 12), np.bool_)] * len(LABELS)
    return Maps(records, maps, masks, valid, np.array(scores))
