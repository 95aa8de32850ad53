"""Defects by cutting and pasting: the baselines that learn nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve

from blemish.errors import ImageError
from blemish.synthesis.arrays import check_image, check_same_size
from blemish.synthesis.photometric import augment, grey

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Image, Mask

_REDRAWS = 20
_NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def crop_and_paste(
    defect: Image, mask: Mask, good: Image, foreground: Mask, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """Return a good photo with a real defect, cut along its mask, at a random place (Lin et al. 2021).

    Of twenty places the first that lies whole on the foreground is taken, or the one that lies on it
    most. defect, good: uint8 RGB, of any two sizes; mask: bool, of the defect; foreground: bool, of the
    good photo. The new mask is where pixels were pasted.

    Raises:
        ImageError: a photo is not uint8 RGB, a mask has another size, or the defect's is empty.
    """
    moved, where = _moved(defect, mask, good, foreground, rng)
    return np.where(where[..., None], moved, good), where


def poisson_paste(
    defect: Image, mask: Mask, good: Image, foreground: Mask, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """Return what `crop_and_paste` does with the seam solved away (Perez et al. 2003, Eq. 7 and 8).

    Takes and raises what `crop_and_paste` does; the same stream pastes to the same place.
    """
    moved, where = _moved(defect, mask, good, foreground, rng)
    return poisson_blend(moved, good, where), where


def cut_paste(good: Image, foreground: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
    """Return a photo with a rectangle of itself, altered, at another place (CutPaste, Li et al. 2021).

    The rectangle covers 2 to 15 % of the photo, with sides of a ratio of up to 3.3; its mask, which may
    be empty, is where it meets the foreground. A grey photo stays grey.
    """
    check_image(good)
    height, width = good.shape[:2]
    area, ratio = rng.uniform(0.02, 0.15) * height * width, np.exp(rng.uniform(-1.2, 1.2))
    rows = int(np.clip(round(np.sqrt(area * ratio)), 1, height))
    columns = int(np.clip(round(np.sqrt(area / ratio)), 1, width))
    box = np.zeros((height, width), np.bool_)
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    box[top : top + rows, left : left + columns] = True
    altered = augment(good, rng)
    if np.ptp(good, axis=2).max() == 0:
        altered = grey(altered)
    moved, where = _moved(altered, box, good, foreground, rng)
    where = where & foreground
    return np.where(where[..., None], moved, good), where


def poisson_blend(source: Image, good: Image, mask: Mask) -> Image:
    """Return the good photo with the source's gradients in the mask (Perez et al. 2003, Eq. 7 and 8).

        sum over neighbours q of p inside the photo: f_p - f_q = s_p - s_q,  f = good outside the mask

    source, good: uint8 RGB (H, W, 3); mask: bool (H, W). Outside, the photo is unchanged bit for bit. A
    mask that covers the whole photo leaves no border to agree with: the source comes back.

    Raises:
        ImageError: the shapes differ, or the photos are not uint8 RGB.
    """
    check_image(source)
    check_image(good)
    check_same_size(good, mask, "mask")
    if source.shape != good.shape:
        raise ImageError(f"expected a source of shape {good.shape}, got {source.shape}")
    if mask.all():
        return source.copy()
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(int(mask.sum()))
    places = np.argwhere(mask)
    levels, base = source.astype(np.float64), good.astype(np.float64)
    diagonal, right = np.zeros(len(places)), np.zeros((len(places), 3))
    rows, columns = [], []
    for step in _NEIGHBOURS:
        beside = places + step
        inside = ((beside >= 0) & (beside < mask.shape)).all(1)
        own, other = places[inside], beside[inside]
        numbers = np.flatnonzero(inside)
        diagonal[numbers] += 1
        right[numbers] += levels[tuple(own.T)] - levels[tuple(other.T)]
        unknown = mask[tuple(other.T)]
        right[numbers[~unknown]] += base[tuple(other[~unknown].T)]
        rows.append(numbers[unknown])
        columns.append(number[tuple(other[unknown].T)])
    every = np.arange(len(places))
    row, column = np.concatenate([every, *rows]), np.concatenate([every, *columns])
    values = np.concatenate([diagonal, np.full(len(row) - len(places), -1.0)])
    system = coo_array((values, (row, column)), (len(places), len(places))).tocsc()
    made = good.copy()
    made[mask] = np.rint(spsolve(system, right).reshape(-1, 3).clip(0, 255))
    return made


def _moved(
    defect: Image, mask: Mask, good: Image, foreground: Mask, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """Return the photo of the defect, shifted so that the defect lies on the good photo's product."""
    check_image(defect)
    check_image(good)
    check_same_size(defect, mask, "mask")
    check_same_size(good, foreground, "foreground")
    if not mask.any():
        raise ImageError("the mask of the defect is empty", hint="give a photo whose defect is drawn")
    places = np.argwhere(mask)
    first, size = places.min(0), np.ptp(places, 0) + 1
    best: tuple[float, Image, Mask] | None = None
    for _ in range(_REDRAWS):
        # A defect that is larger than the photo keeps its first corner in it.
        corner = [int(rng.integers(max(0, g - s) + 1)) for g, s in zip(good.shape, size, strict=False)]
        rows, columns = (
            np.arange(length) - to + start
            for length, to, start in zip(good.shape, corner, first, strict=False)
        )
        here = np.ix_(rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1))
        known = np.ix_((rows >= 0) & (rows < mask.shape[0]), (columns >= 0) & (columns < mask.shape[1]))
        inside = np.zeros(good.shape[:2], np.bool_)
        inside[known] = True
        where = mask[here] & inside
        share = float(foreground[where].mean()) if where.any() else -1.0
        if best is None or share > best[0]:
            best = (share, defect[here], where)
        if share == 1:
            break
    assert best is not None  # noqa: S101 - there is at least one draw
    return best[1], best[2]
