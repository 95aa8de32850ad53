"""What can be measured on a defect in a photo: change, seam, likeness. Pure functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from scipy import ndimage

from blemish.data import shrink_mask
from blemish.generation.masks import bounds
from blemish.synthesis.arrays import Image, Mask

Floats: TypeAlias = npt.NDArray[np.float32]

Features: TypeAlias = Callable[[Image], Sequence[Floats]]
"""From a picture, uint8 (S, S, 3), to feature maps, each float32 (C, h, w)."""

Portrait: TypeAlias = tuple[Floats, Floats]
"""The box around a defect as grey float32 (32, 32), and how much of each cell is mask."""

VISIBLE = 3.0
"""A pixel has changed when its surroundings moved by more than so many deviations of the noise."""

_SURROUNDINGS = 32
_QUIETEST = 0.5
_BAND = 3
_PORTRAIT = 32
_FLAT = 1.0
_SAME_SHAPE, _FEWEST_CELLS = 0.5, 20


def realised(good: Image, made: Image, mask: Mask) -> tuple[float, float]:
    """Return how strongly, and on which share of the mask, the photo has changed.

        z = max over channels of |D| / noise,    D = mean of made - good over 3 x 3 pixels of the mask
        change = mean z,    fill = share of z > 3

    noise: sqrt(2) * 1.4826 * median |mean over 3 x 3 - mean over 9 x 9| of the good photo around the
    mask, what two photos of the same grain differ by; at least half a grey level. So new grain alone is
    no change.
    """
    near = _near(mask, _SURROUNDINGS)
    photo, inside = good[near].astype(np.float32), mask[near]
    detail = ndimage.uniform_filter(photo, (3, 3, 0)) - ndimage.uniform_filter(photo, (9, 9, 0))
    noise = np.maximum(2**0.5 * 1.4826 * np.median(np.abs(detail), axis=(0, 1)), _QUIETEST)
    moved = np.where(inside[..., np.newaxis], made[near].astype(np.float32) - photo, 0)
    covered = ndimage.uniform_filter(inside.astype(np.float32), 3, mode="constant")[inside]
    local = ndimage.uniform_filter(moved, (3, 3, 0), mode="constant")[inside] / covered[:, np.newaxis]
    visible = (np.abs(local) / noise).max(1)
    return float(visible.mean()), float((visible > VISIBLE).mean())


def seam(image: Image, mask: Mask) -> float:
    """Return the mean step across the mask's border over the mean step beside it, 3 pixels each way.

        (1 + across) / (1 + beside),    steps |x(p) - x(q)| of neighbours, mean of channels, grey levels

    A mask without border inside the photo has none: 1.
    """
    near = _near(mask, _BAND + 1)
    photo, inside = image[near].astype(np.float32), mask[near]
    inner = ndimage.binary_erosion(inside, np.ones((3, 3)), _BAND, border_value=1)
    band = ndimage.binary_dilation(inside, np.ones((3, 3)), _BAND) & ~inner
    across, beside = [], []
    for axis in (0, 1):
        steps = np.abs(np.diff(photo, axis=axis)).mean(2)
        crossing = np.diff(inside, axis=axis)
        ends = np.delete(band, 0, axis) & np.delete(band, -1, axis)
        across.append(steps[crossing])
        beside.append(steps[ends & ~crossing])
    over, along = np.concatenate(across), np.concatenate(beside)
    if not len(over) or not len(along):
        return 1.0
    return float((1 + over.mean()) / (1 + along.mean()))


def masked_features(maps: Sequence[Floats], mask: Mask) -> Floats:
    """Return the mean feature under the mask at each scale, each of length 1, one after the other.

    maps: float32 (C, h, w) each; mask: bool (S, S), not empty; it is shrunk by area to each map.
    """
    vectors = []
    for features in maps:
        cells = shrink_mask(mask, features.shape[1], features.shape[2])
        mean = features[:, cells].mean(1)
        vectors.append(mean / max(float(np.linalg.norm(mean)), 1e-6))
    return np.concatenate(vectors).astype(np.float32)


def _near(mask: Mask, around: int) -> tuple[slice, slice]:
    first, last = bounds(mask)
    rows, columns = (
        slice(max(int(low) - around, 0), int(high) + around)
        for low, high in zip(first, last, strict=True)
    )
    return rows, columns


def healed(image: Image, mask: Mask) -> Image:
    """Return the photo with each pixel under the mask as bright as what lies nearest outside it."""
    if mask.all():
        return image.copy()
    smooth = ndimage.uniform_filter(image, (3, 3, 0))
    # The outermost pixels outside still show the defect's edge.
    hidden = ndimage.binary_dilation(mask, iterations=2)
    hidden = mask if hidden.all() else hidden
    rows, columns = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    healed = image.copy()
    healed[mask] = smooth[rows[mask], columns[mask]]
    return healed


def portrait(image: Image, mask: Mask) -> Portrait:
    """Return the box around a mask as grey float32 (32, 32), and how much of each cell is mask."""
    first, last = bounds(mask)
    box = (int(first[1]), int(first[0]), int(last[1]), int(last[0]))
    size = (_PORTRAIT, _PORTRAIT)
    grey = Pillow.fromarray(image).convert("L").resize(size, Pillow.Resampling.BILINEAR, box)
    cover = Pillow.fromarray(mask.astype(np.float32)).resize(size, Pillow.Resampling.BILINEAR, box)
    return np.asarray(grey, np.float32), np.asarray(cover)


def most_alike(one: Portrait, others: Sequence[Portrait]) -> float:
    """Return the largest correlation with any of the others in its eight turns; -1 of none."""
    turns = [
        (np.rot90(one[0][:, ::mirror], quarter), np.rot90(one[1][:, ::mirror], quarter))
        for mirror in (1, -1)
        for quarter in range(4)
    ]
    return max((_alike(turn, other) for turn in turns for other in others), default=-1.0)


def _alike(one: Portrait, other: Portrait) -> float:
    """Return how the greys correlate where both are defect; 0 where the shapes share too little."""
    (grey, cover), (known, weight) = one, other
    common, both = np.minimum(cover, weight), np.maximum(cover, weight)
    # Over the few cells that two different cracks share, anything correlates.
    if common.sum() < max(_SAME_SHAPE * both.sum(), _FEWEST_CELLS):
        return 0.0
    return _correlation(grey, known, common)


def _correlation(one: Floats, other: Floats, weight: Floats) -> float:
    """Return the weighted correlation of two pictures, in [-1, 1]; 0 where one is flat."""
    total = float(weight.sum())
    a, b = (plane - (plane * weight).sum() / total for plane in (one, other))
    powers = [float((plane**2 * weight).sum() / total) for plane in (a, b)]
    if min(powers) < _FLAT**2:
        return 0.0
    return float((a * b * weight).sum() / total / (powers[0] * powers[1]) ** 0.5)
