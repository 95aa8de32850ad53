"""Perlin noise, and the irregular masks that come from it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from blemish.synthesis.turning import turned_centre

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field, Mask

Positions: TypeAlias = npt.NDArray[np.floating[Any]]

MAX_OCTAVE = 5
THRESHOLD = 0.5


def perlin(height: int, width: int, frequency: tuple[int, int], rng: np.random.Generator) -> Field:
    """Return gradient noise with `frequency` lattice cells along each axis (DRAEM, Perlin masks).

        n(y, x) = sqrt(2) * sum over the 4 corners of fade(distance) * (gradient . offset)
        fade(t) = 6t^5 - 15t^4 + 10t^3

    frequency: cells along (height, width); a cell need not be a whole number of pixels wide, so any
    size works. Returns float32 (H, W) in [-1, 1], zero wherever a pixel falls on a lattice point.
    """
    rows = np.arange(height) * (frequency[0] / height)
    columns = np.arange(width) * (frequency[1] / width)
    return _lattice_noise(rows, columns, rng)


def random_frequency(rng: np.random.Generator) -> tuple[int, int]:
    """Return a random number of lattice cells per axis: 2^k with k uniform in 0..5."""
    vertical, horizontal = 2 ** rng.integers(0, MAX_OCTAVE + 1, size=2)
    return int(vertical), int(horizontal)


def perlin_mask(height: int, width: int, frequency: tuple[int, int], rng: np.random.Generator) -> Mask:
    """Return turned and thresholded Perlin noise (DRAEM): bool (H, W), True in the blobs above 0.5.

    The noise is drawn on the square that holds the image at every angle, turned by U(-90, 90)
    degrees and cropped. So no blob ends at the border of the turned square, as it would if the
    image itself were turned and its corners filled with zeros.
    """
    side = math.ceil(math.hypot(height, width)) + 2
    steps = np.arange(side)
    noise = _lattice_noise(steps * (frequency[0] / height), steps * (frequency[1] / width), rng)
    angle = math.radians(rng.uniform(-90, 90))
    if noise.max() <= THRESHOLD:
        return np.zeros((height, width), np.bool_)
    turned = turned_centre(Pillow.fromarray(noise), angle, width, height)
    return np.asarray(turned) > THRESHOLD


def _lattice_noise(rows: Positions, columns: Positions, rng: np.random.Generator) -> Field:
    """Return Perlin noise at ascending lattice coordinates, as two products of small matrices.

    The weights of the four corners are products of a vertical and a horizontal weight, so the sum
    over corners is (weights down) @ gradients @ (weights across), once per gradient component.
    """
    blend_down, slope_down = _corner_weights(rows)
    blend_across, slope_across = _corner_weights(columns)
    angle = rng.uniform(0, 2 * np.pi, (blend_down.shape[1], blend_across.shape[1]))
    down = slope_down @ np.sin(angle, dtype=np.float32, casting="same_kind") @ blend_across.T
    across = blend_down @ np.cos(angle, dtype=np.float32, casting="same_kind") @ slope_across.T
    noise: Field = np.clip(np.float32(math.sqrt(2)) * (down + across), -1, 1)
    return noise


def _corner_weights(positions: Positions) -> tuple[Field, Field]:
    """Return for each position its blend weight, and weight times offset, to each lattice line."""
    cell = positions.astype(np.intp)
    offset = positions - cell
    fade = offset**3 * (offset * (offset * 6 - 15) + 10)
    index = np.arange(len(positions))
    blend = np.zeros((len(positions), int(cell[-1]) + 2), np.float32)
    slope = np.zeros_like(blend)
    blend[index, cell], blend[index, cell + 1] = 1 - fade, fade
    slope[index, cell], slope[index, cell + 1] = (1 - fade) * offset, fade * (offset - 1)
    return blend, slope
