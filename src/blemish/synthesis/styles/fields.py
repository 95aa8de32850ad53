"""Random fields with a scale: the raw material of surfaces and of what happens to them.

Every field is float32 (size, size) with mean 0 and standard deviation 1, unless it says otherwise;
lengths are in pixels, angles in radians.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import fft

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field

Levels: TypeAlias = npt.NDArray[np.floating[Any]]
"""Real numbers of any precision, on their way to a field."""

QUANTUM = 16
"""Noise is made on grids of a multiple of this many pixels, so that few grids need be remembered."""


def single(values: Levels) -> Field:
    """Return the values in single precision; those that are already, untouched."""
    return np.asarray(values, np.float32)


class Cells(NamedTuple):
    """Voronoi cells: distance to the nearest and second nearest seed, px, and the nearest's number."""

    first: Field
    second: Field
    number: npt.NDArray[np.intp]

    def tones(self, rng: np.random.Generator) -> Field:
        """Return a random level per cell, uniform in [-1, 1]."""
        return rng.uniform(-1, 1, int(self.number.max()) + 1).astype(np.float32)[self.number]


def fractal(size: int, rng: np.random.Generator, slope: float = 1.5) -> Field:
    """Return noise whose amplitude falls with frequency^slope: 0 is white, 2 is hills."""
    down, across = _frequencies(_grid(size))
    radius = np.hypot(down, across) + np.float32(0.5 / size)
    return _shaped(size, radius ** np.float32(-slope), rng)


def bumps(size: int, rng: np.random.Generator, scale: float, width: float = 0.35) -> Field:
    """Return bumps and dips about `scale` px apart; width: of the band of scales, in octaves."""
    down, across = _frequencies(_grid(size))
    radius = np.hypot(down, across) + np.float32(1e-4)
    octaves = np.log2(radius * np.float32(scale))
    return _shaped(size, np.exp(-((octaves / np.float32(width)) ** 2) / 2), rng)


def grain(size: int, rng: np.random.Generator, scale: float) -> Field:
    """Return white noise blurred by a Gaussian of standard deviation `scale` px."""
    return streaks(size, rng, scale, scale, 0.0)


def streaks(size: int, rng: np.random.Generator, length: float, width: float, heading: float) -> Field:
    """Return white noise blurred by a Gaussian, `length` px along the heading and `width` px across."""
    down, across = _frequencies(_grid(size))
    cos, sin = np.float32(math.cos(heading)), np.float32(math.sin(heading))
    ahead = (across * cos + down * sin) * np.float32(length)
    aside = (down * cos - across * sin) * np.float32(width)
    return _shaped(size, np.exp(np.float32(-2 * math.pi**2) * (ahead**2 + aside**2)), rng)


def lanes(size: int, rng: np.random.Generator, width: float, heading: float) -> Field:
    """Return noise that changes across the heading only, as a tool or a line camera leaves it."""
    x, y = positions(size)
    reach = 2 * size
    steps = rng.standard_normal(2 * reach)
    taps = np.exp(-((np.arange(-3 * width - 1, 3 * width + 2) / max(width, 0.3)) ** 2) / 2)
    profile = np.convolve(steps, taps, mode="same")
    aside = y * math.cos(heading) - x * math.sin(heading)
    field = np.interp(aside.ravel(), np.arange(2 * reach) - reach, profile / profile.std())
    return single(field.reshape(size, size))


def cells(
    size: int,
    rng: np.random.Generator,
    pitch: float,
    disorder: float = 1.0,
    warp: float = 0.0,
    stretch: float = 1.0,
) -> Cells:
    """Return Voronoi cells of jittered seeds about `pitch` px apart.

    disorder: 0 is a square grid, 1 is random; warp: px by which the borders meander; stretch: how
    much longer than wide the cells are.
    """
    x, y = positions(size)
    if warp:
        x = x + np.float32(warp) * bumps(size, rng, 2.5 * pitch, 0.6)
        y = y + np.float32(warp) * bumps(size, rng, 2.5 * pitch, 0.6)
    turn = rng.uniform(0, math.pi)
    u = (x * math.cos(turn) + y * math.sin(turn)) / np.float32(pitch * stretch)
    v = (y * math.cos(turn) - x * math.sin(turn)) / np.float32(pitch)
    u, v = u - u.min() + 2, v - v.min() + 2
    column, row = u.astype(np.intp), v.astype(np.intp)
    count = int(max(column.max(), row.max())) + 3
    jitter = (0.5 + disorder * rng.uniform(-0.5, 0.5, (2, count * count))).astype(np.float32)
    first = np.full(x.shape, np.inf, np.float32)
    second, index = first.copy(), np.zeros(x.shape, np.intp)
    du, dv = u - column, v - row
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            number = (row + i) * count + column + j
            away = (jitter[0][number] + j - du) ** 2 + (jitter[1][number] + i - dv) ** 2
            second = np.minimum(second, np.maximum(first, away))
            index = np.where(away < first, number, index)
            first = np.minimum(first, away)
    return Cells(single(np.sqrt(first) * pitch), single(np.sqrt(second) * pitch), index)


def positions(size: int) -> tuple[Field, Field]:
    """Return x and y of the pixel centres from the middle of the picture, px."""
    axis = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    return np.broadcast_to(axis, (size, size)), np.broadcast_to(axis[:, np.newaxis], (size, size))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number whose logarithm is uniform."""
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _shaped(size: int, amplitude: Field, rng: np.random.Generator) -> Field:
    """Return a window of periodic noise with this spectrum; the period is longer than the window."""
    side = amplitude.shape[0]
    parts = rng.standard_normal((*amplitude.shape, 2), dtype=np.float32)
    field = fft.irfft2(parts.view(np.complex64)[..., 0] * amplitude, s=(side, side))[:size, :size]
    field -= field.mean()
    return single(field / max(float(field.std()), 1e-12))


def _grid(size: int) -> int:
    return -(-max(5 * size // 4, QUANTUM) // QUANTUM) * QUANTUM


@lru_cache(maxsize=64)
def _frequencies(side: int) -> tuple[Field, Field]:
    """Return the frequencies of a real transform, cycles per px: a column down, a row across."""
    down = np.fft.fftfreq(side).astype(np.float32)[:, np.newaxis]
    across = np.fft.rfftfreq(side).astype(np.float32)[np.newaxis]
    return down, across
