"""The photo itself, changed: the appearance of uneven surfaces, dents and smears. Ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageChops, ImageFilter

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Image, Mask

Change = Callable[[Pillow.Image, np.random.Generator], Pillow.Image]

LEVELS = np.arange(256)
VISIBLE = 12.0
"""Mean change inside the mask, in grey levels, below which nobody would see the defect."""


def shade(image: Image, mask: Mask, rng: np.random.Generator, *, monochrome: bool = False) -> Image:
    """Return the photo darker, brighter, flatter, blurred, smeared or stained: uint8 RGB (H, W, 3).

    monochrome: never stained with colour.

    On a flat surface a blurred copy looks like the original: when the change under the mask (bool
    (H, W), not empty) is below 12 grey levels on average, the levels are moved instead, away from
    the nearer end of the scale.
    """
    picture = Pillow.fromarray(image)
    changes = CHANGES if monochrome else (*CHANGES, tint)
    changed = np.array(changes[rng.integers(len(changes))](picture, rng))
    before = image[mask].astype(np.float32)
    if np.abs(changed[mask] - before).mean() >= VISIBLE:
        return changed
    move = rng.uniform(25, 80) * (1 if before.mean() < 128 else -1)
    return _with_levels(picture, LEVELS + move)


def darken(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return v * U(0.3, 0.75)."""
    return Pillow.fromarray(_with_levels(picture, LEVELS * rng.uniform(0.3, 0.75)))


def brighten(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return v * U(1.3, 2.2), clipped."""
    return Pillow.fromarray(_with_levels(picture, LEVELS * rng.uniform(1.3, 2.2)))


def contrast(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return the picture flattened towards, or driven away from, a random grey."""
    pivot = rng.uniform(60, 200)
    factor = rng.choice([rng.uniform(0.1, 0.6), rng.uniform(1.5, 2.5)])
    return Pillow.fromarray(_with_levels(picture, pivot + (LEVELS - pivot) * factor))


def tint(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return each channel times its own exp(U(-0.7, 0.7)), clipped: a transparent stain."""
    gains = np.exp(rng.uniform(-0.7, 0.7, (3, 1)))
    return Pillow.fromarray(_with_levels(picture, gains * LEVELS))


def blur(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return the picture out of focus: a box of 2 to 6 % of its shorter side."""
    return picture.filter(ImageFilter.BoxBlur(rng.uniform(0.02, 0.06) * min(picture.size)))


def smear(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return the picture moved by 2 to 12 % of its shorter side, wrapping around."""
    angle = rng.uniform(0, 2 * np.pi)
    distance = rng.uniform(0.02, 0.12) * min(picture.size)
    across, down = int(distance * np.cos(angle)), int(distance * np.sin(angle))
    return ImageChops.offset(picture, across, down)


def _with_levels(picture: Pillow.Image, levels: npt.NDArray[np.floating[Any]]) -> Image:
    """Return the picture with new levels, clipped: the same (256,), or each channel's own (3, 256)."""
    table = np.broadcast_to(np.clip(np.rint(levels), 0, 255).astype(int), (3, len(LEVELS)))
    return np.array(picture.point(table.ravel().tolist()))


CHANGES: tuple[Change, ...] = (darken, brighten, contrast, blur, smear)
"""Of photos with and without colour; `tint` joins them where there is colour."""
