"""Height and light: how a surface that is not flat changes what the camera sees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from blemish.synthesis.factory.scene import Colours, slopes
from blemish.synthesis.styles.fields import Levels, single

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field, Mask


@dataclass(frozen=True, slots=True)
class Lamp:
    """A distant light. azimuth: where it stands in the picture, radians; elevation: above it."""

    azimuth: float
    elevation: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Lamp:
        """Return a lamp at any side, from grazing to steep."""
        return cls(float(rng.uniform(-math.pi, math.pi)), float(rng.uniform(0.35, 1.2)))

    @property
    def towards(self) -> tuple[float, float, float]:
        """The unit vector (x, y, up) towards the lamp."""
        flat = math.cos(self.elevation)
        return (
            flat * math.cos(self.azimuth),
            flat * math.sin(self.azimuth),
            math.sin(self.elevation),
        )


def shading(height: Field, lamp: Lamp, ambient: float = 0.35) -> Field:
    """Return the light that a matt surface sends back, relative to a flat one: 1 where it is flat.

        s = a + (1 - a) * max(n . l, 0) / l_up        (Lambert)

    height: px; ambient: the share a of light that comes from everywhere.
    """
    across, down = slopes(height)
    x, y, up = lamp.towards
    facing = (up - x * across - y * down) / np.sqrt(1 + across * across + down * down)
    lit = np.maximum(facing, 0) * np.float32((1 - ambient) / up)
    return single(lit + np.float32(ambient))


def highlight(height: Field, lamp: Lamp, sharpness: float = 24.0) -> Field:
    """Return the mirror part of the light in [0, 1]: (n . h)^sharpness, h half-way lamp to camera."""
    across, down = slopes(height)
    x, y, up = lamp.towards
    norm = math.sqrt(x * x + y * y + (up + 1) ** 2)
    facing = (up + 1 - x * across - y * down) / (norm * np.sqrt(1 + across**2 + down**2))
    return single(np.maximum(facing, 0) ** np.float32(sharpness))


def glint(height: Field, lamp: Lamp, sharpness: float = 24.0) -> Field:
    """Return the mirror part beyond that of a flat surface, [0, 1]: relief sparkles, planes do not."""
    flat = ((lamp.towards[2] + 1) / 2) ** (sharpness / 2)
    return single(np.maximum(highlight(height, lamp, sharpness) - flat, 0) / (1 - flat))


def inner_depth(mask: Mask) -> Field:
    """Return how deep in the mask each pixel lies, px: 0 outside, 1 at the rim.

    Beyond the borders of the picture the mask is taken to go on as it ends there.
    """
    around = np.pad(mask, 8, mode="edge")
    if around.all():
        return np.full(mask.shape, max(mask.shape), np.float32)
    depth = ndimage.distance_transform_edt(around)
    return single(depth[8:-8, 8:-8])


def bowl(depth: Field, width: float) -> Field:
    """Return a round profile: 0 at the rim, 1 from `width` px inwards, a quarter circle in between."""
    t = np.clip(1 - depth / np.float32(max(width, 1e-3)), 0, 1)
    return single(np.sqrt(np.maximum(1 - t * t, 0)))


def hollow(depth: Levels, width: float) -> Field:
    """Return a smooth profile without an edge: 0 and flat at the rim, 1 and flat from `width` px."""
    t = np.clip(depth / np.float32(max(width, 1e-3)), 0, 1)
    return single(t * t * (3 - 2 * t))


def moved(picture: Colours, across: Levels, down: Levels) -> Colours:
    """Return the picture as seen through displaced pixels, bilinear, its edges held.

    across, down: by how many px to the right and below each pixel looks.
    """
    height, width = across.shape
    x = np.clip(np.arange(width, dtype=np.float32) + across, 0, width - 1)
    y = np.clip(np.arange(height, dtype=np.float32)[:, np.newaxis] + down, 0, height - 1)
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    u, v = (x - left)[..., np.newaxis], (y - top)[..., np.newaxis]
    upper = picture[top, left] * (1 - u) + picture[top, right] * u
    lower = picture[below, left] * (1 - u) + picture[below, right] * u
    return single(upper * (1 - v) + lower * v)
