"""A defect painted into a photo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blemish.errors import ImageError
from blemish.synthesis.arrays import Image, Mask, check_image, check_same_size
from blemish.synthesis.styles.catalogue import FAMILIES
from blemish.synthesis.styles.materials import LUMA
from blemish.synthesis.styles.relief import inner_depth
from blemish.synthesis.styles.site import Site

if TYPE_CHECKING:
    from blemish.synthesis.factory.scene import Colours
    from blemish.synthesis.styles.style import DefectStyle

MARGIN = 14
"""Pixels about a mask that a painter sees: refraction, drag and surroundings reach so far."""

MOST_GAIN = 3.0
"""By how much a faint change is driven up before the levels themselves are moved."""

MOST_NOISE = 0.02


def paint(rng: np.random.Generator, surface: Image, mask: Mask, style: DefectStyle) -> Image:
    """Return the photo with a defect of this style: uint8 RGB (H, W, 3).

    surface: uint8 RGB (H, W, 3); mask: bool (H, W). Outside the mask the photo is as it was, bit for
    bit; a grey photo stays grey; an empty mask changes nothing.

    Raises:
        ImageError: the photo is not uint8 RGB, or the mask is not bool or of another size.
    """
    check_image(surface)
    check_same_size(surface, mask, "mask")
    if mask.dtype != np.bool_:
        raise ImageError(f"expected a bool mask, got {mask.dtype}", hint="compare it: mask > 127")
    if not mask.any():
        return surface.copy()
    window = _window(mask)
    seen, inside = surface[window], mask[window]
    photo = seen.astype(np.float32) * np.float32(1 / 255)
    site = Site(photo, inside, inner_depth(inside), style, rng)
    painted = FAMILIES[style.family].painter(site)
    if (seen[..., :1] == seen).all():
        painted = np.repeat((painted @ LUMA)[..., np.newaxis], 3, axis=2)
    change = _through_lens((painted - photo) * inside[..., np.newaxis])
    change = _visible(change[inside], photo[inside], style.contrast)
    grain = rng.standard_normal((len(change), 1), dtype=np.float32) * np.float32(_noise(photo))
    levels = np.rint((photo[inside] + change + grain) * 255)
    result = surface.copy()
    result[window][inside] = np.clip(levels, 0, 255).astype(np.uint8)
    return result


def _window(mask: Mask) -> tuple[slice, slice]:
    """Return the rows and columns of the mask and a margin around it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(rows[0]) - MARGIN, 0), int(rows[-1]) + MARGIN + 1),
        slice(max(int(columns[0]) - MARGIN, 0), int(columns[-1]) + MARGIN + 1),
    )


def _through_lens(change: Colours) -> Colours:
    """Return the change a little blurred: no lens draws an edge within one pixel."""
    soft = change.copy()
    soft[1:-1] = 0.64 * change[1:-1] + 0.18 * (change[:-2] + change[2:])
    softer = soft.copy()
    softer[:, 1:-1] = 0.64 * soft[:, 1:-1] + 0.18 * (soft[:, :-2] + soft[:, 2:])
    return softer


def _visible(change: Colours, before: Colours, wanted: float) -> Colours:
    """Return the change of (N, 3) pixels, driven up until half of them change by what is wanted.

    Where a gain of 3 does not bring it, as on a surface with nothing to distort, the levels are
    moved: the way the defect leans, or into the wider part of the scale.
    """
    felt = _felt(change, before)
    if felt >= wanted:
        return change
    change = change * np.float32(min(wanted / max(felt, 1e-6), MOST_GAIN))
    felt = _felt(change, before)
    if felt >= wanted:
        return change
    level, lean = float(before.mean()), float(change.mean())
    decided = abs(lean) > wanted / 4 and 2 * wanted <= level <= 1 - 2 * wanted
    rises = lean > 0 if decided else level < 0.5
    # Half of the pixels change by at most `felt`: so far beyond it, no sign can cancel the move.
    return change + np.float32((felt + wanted) * (1 if rises else -1))


def _felt(change: Colours, before: Colours) -> float:
    """Return the change of the middle pixel in its most changed channel, clipped as photos are."""
    clipped = np.clip(before + change, 0, 1) - before
    return float(np.median(np.abs(clipped).max(axis=1)))


def _noise(photo: Colours) -> float:
    """Return the standard deviation of the sensor's noise: of differences free of gradients."""
    light = photo[..., 1]
    if min(light.shape) < 4:
        return 0.0
    twice = light[1:, 1:] - light[:-1, 1:] - light[1:, :-1] + light[:-1, :-1]
    return min(float(np.median(np.abs(twice))) / (2 * 0.6745), MOST_NOISE)
