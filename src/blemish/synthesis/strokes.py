"""Thin masks: cracks, scratches and pits, which thresholded noise never draws.

Ours, beyond the paper: Perlin blobs are round and wide, and a segmenter that has seen only those
overlooks a hairline crack.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Mask

Points = npt.NDArray[np.float64]
Painter = Callable[[ImageDraw.ImageDraw, tuple[int, int], np.random.Generator], None]

REFERENCE_SIDE = 256
"""Widths below are in pixels of a photo of this size, and grow in proportion."""


def stroke_mask(height: int, width: int, rng: np.random.Generator) -> Mask:
    """Return thin curves or a cluster of pits: bool (H, W), never empty, 1 to 4 px wide at 256 px.

    A crack, a bundle of scratches or a cluster of pits, each a third of the time.
    """
    canvas = Pillow.new("1", (width, height))
    painters: tuple[Painter, ...] = (_crack, _scratches, _pits)
    painters[rng.integers(len(painters))](ImageDraw.Draw(canvas), (width, height), rng)
    return np.array(canvas)


def midpoint_displacement(
    start: Points, end: Points, roughness: float, levels: int, rng: np.random.Generator
) -> Points:
    """Return a fractal polyline from start to end: (2^levels + 1, 2) points (x, y).

    Each level halves every piece and moves the new point sideways by N(0, roughness) of the piece's
    length; roughness 0 gives the straight line.
    """
    points = np.stack([start, end]).astype(np.float64)
    for _ in range(levels):
        piece = np.diff(points, axis=0)
        sideways = np.stack([-piece[:, 1], piece[:, 0]], axis=1)
        middle = points[:-1] + piece / 2 + sideways * rng.normal(0, roughness, (len(piece), 1))
        finer = np.empty((2 * len(points) - 1, 2))
        finer[::2], finer[1::2] = points, middle
        points = finer
    return points


def _crack(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Draw a wandering line, widest in the middle, from which a few shorter ones branch off."""
    length = rng.uniform(0.08, 0.7) * min(size)
    heading = rng.uniform(0, 2 * np.pi)
    roughness = rng.uniform(0.08, 0.3)
    widest = rng.uniform(1, 4)
    middle = rng.uniform((0, 0), size)
    reach = _vector(heading, length / 2)
    trunk = midpoint_displacement(middle - reach, middle + reach, roughness, 6, rng)
    _tapered(draw, trunk, widest, _pixel(size))
    for _ in range(rng.poisson(1.2)):
        origin = trunk[rng.integers(8, len(trunk) - 8)]
        side = rng.choice([-1, 1]) * rng.uniform(0.4, 1.3)
        tip = origin + _vector(heading + side, length * rng.uniform(0.1, 0.4))
        branch = midpoint_displacement(origin, tip, roughness, 4, rng)
        _tapered(draw, branch, widest * 0.6, _pixel(size))


def _scratches(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Draw one to five nearly parallel, nearly straight lines, as a slipping tool leaves them."""
    heading = rng.uniform(0, 2 * np.pi)
    length = rng.uniform(0.06, 0.7) * min(size)
    bow = rng.normal(0, 0.06)
    middle = rng.uniform((0, 0), size)
    for _ in range(rng.integers(1, 6)):
        reach = _vector(heading + rng.normal(0, 0.06), length * rng.uniform(0.4, 1) / 2)
        sideways = np.array([-reach[1], reach[0]])
        along = np.linspace(-1, 1, 17)[:, np.newaxis]
        points = middle + along * reach + (1 - along**2) * bow * sideways
        _tapered(draw, points, rng.uniform(1, 3), _pixel(size))
        middle = middle + rng.normal(0, 0.025, 2) * size


def _pits(draw: ImageDraw.ImageDraw, size: tuple[int, int], rng: np.random.Generator) -> None:
    """Draw a cluster of small dots, round or drawn out along a line."""
    middle = rng.uniform((0, 0), size)
    heading = rng.uniform(0, np.pi)
    spread = rng.uniform(0.01, 0.1, 2) * min(size)
    for _ in range(rng.integers(3, 25)):
        away = rng.normal(0, spread)
        x, y = middle + _vector(heading, away[0]) + _vector(heading + np.pi / 2, away[1])
        radius_x, radius_y = rng.uniform(0.5, 2.2, 2) * _pixel(size)
        draw.ellipse((x - radius_x, y - radius_y, x + radius_x, y + radius_y), fill=1)
    x, y = middle
    draw.point((min(x, size[0] - 1), min(y, size[1] - 1)), fill=1)


def _tapered(draw: ImageDraw.ImageDraw, points: Points, widest: float, pixel: float) -> None:
    """Draw a polyline whose width grows from one pixel at the ends to `widest` in the middle."""
    along = (np.arange(len(points) - 1) + 0.5) / (len(points) - 1)
    widths = np.maximum(np.rint((1 + (widest - 1) * np.sin(np.pi * along)) * pixel), 1)
    corners = points.ravel().tolist()
    for index, width in enumerate(widths.astype(int).tolist()):
        draw.line(corners[2 * index : 2 * index + 4], fill=1, width=width)


def _vector(heading: float, length: float) -> Points:
    return length * np.array([math.cos(heading), math.sin(heading)])


def _pixel(size: tuple[int, int]) -> float:
    return max(min(size) / REFERENCE_SIDE, 0.5)
