"""Ten ways to change how a picture looks; three at a time make an appearance that fits nowhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pillow
from PIL import ImageEnhance, ImageOps

from blemish.errors import ConfigError
from blemish.synthesis.turning import turned_centre

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Image

Operation = Callable[[Pillow.Image, np.random.Generator], Pillow.Image]

LEVELS = np.arange(256)


def augment(image: Image, rng: np.random.Generator, count: int = 3) -> Image:
    """Return the picture after `count` distinct operations of the ten (DRAEM, appearance source).

    image: uint8 RGB (H, W, 3), any size; the result has the same size.

    Raises:
        ConfigError: there are not that many operations.
    """
    if not 0 <= count <= len(OPERATIONS):
        raise ConfigError(
            f"expected 0 to {len(OPERATIONS)} operations, got {count}",
            hint="the paper uses 3",
        )
    picture = Pillow.fromarray(image)
    for index in rng.permutation(len(OPERATIONS))[:count]:
        picture = OPERATIONS[index](picture, rng)
    return np.array(picture)


def gamma(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return 255 * (v / 255)^g with its own g in U(0.5, 2) for each channel."""
    powers = rng.uniform(0.5, 2.0, size=(3, 1))
    return picture.point(np.rint(255 * (LEVELS / 255) ** powers).astype(int).ravel().tolist())


def brightness(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return v * U(0.8, 1.2) + U(-30, 30), the same for all channels."""
    levels = LEVELS * rng.uniform(0.8, 1.2) + rng.uniform(-30, 30)
    return picture.point(np.clip(np.rint(levels), 0, 255).astype(int).tolist() * 3)


def sharpness(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return the picture between blurred (0.1) and over-sharpened (1.9)."""
    return ImageEnhance.Sharpness(picture).enhance(rng.uniform(0.1, 1.9))


def hue_and_saturation(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return hue and saturation each shifted by up to 50 of 255; hue wraps, saturation clips."""
    hue, saturation = rng.integers(-50, 51, size=2)
    table = [(LEVELS + hue) % 256, np.clip(LEVELS + saturation, 0, 255), LEVELS]
    return picture.convert("HSV").point(np.concatenate(table).tolist()).convert("RGB")


def solarise(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return, half of the time, the levels from a threshold in 32..128 upwards inverted."""
    threshold = int(rng.integers(32, 129))
    return ImageOps.solarize(picture, threshold) if rng.random() < 0.5 else picture


def posterise(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return the picture with 1 to 7 bits left per channel."""
    return ImageOps.posterize(picture, int(rng.integers(1, 8)))


def invert(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:  # noqa: ARG001
    """Return 255 - v."""
    return ImageOps.invert(picture)


def autocontrast(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return each channel stretched to 0..255 after a cut of up to 20 % at both ends."""
    return ImageOps.autocontrast(picture, cutoff=rng.uniform(0, 20))


def equalise(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:  # noqa: ARG001
    """Return each channel with an even histogram."""
    return ImageOps.equalize(picture)


def rotate(picture: Pillow.Image, rng: np.random.Generator) -> Pillow.Image:
    """Return the picture turned by U(-45, 45) degrees about its centre, mirrored beyond its edges.

    Black corners would be pasted into photos as if they belonged to the appearance.
    """
    angle = math.radians(rng.uniform(-45, 45))
    width, height = picture.size
    beyond_x = _overhang(width, height, angle)
    beyond_y = _overhang(height, width, angle)
    edges = ((beyond_y, beyond_y), (beyond_x, beyond_x), (0, 0))
    mirrored = Pillow.fromarray(np.pad(np.asarray(picture), edges, mode="symmetric"))
    return turned_centre(mirrored, angle, width, height)


def grey(image: Image) -> Image:
    """Return the picture's luma on all three channels (ITU-R 601-2)."""
    return np.array(Pillow.fromarray(image).convert("L").convert("RGB"))


def _overhang(side: int, other: int, angle: float) -> int:
    """Return by how many pixels a turned frame reaches beyond each end of this side."""
    reach = side * math.cos(angle) + other * abs(math.sin(angle))
    return max(math.ceil((reach - side) / 2) + 1, 0)


OPERATIONS: tuple[Operation, ...] = (
    gamma,
    brightness,
    sharpness,
    hue_and_saturation,
    solarise,
    posterise,
    invert,
    autocontrast,
    equalise,
    rotate,
)
