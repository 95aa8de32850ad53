"""Draw a product line of grey metal with thin cracks, to measure detectors on.

    python benchmarks/thin_cracks.py OUT [--height 500 --width 1250]

Grain, streaks, pits and machining marks are normal; a crack is a dark line of one to four pixels whose
mask is seven wide, as people draw them. OUT is an MVTec tree: 120 good photos to learn from, 40 good
and 40 cracked ones to judge.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

Plane = npt.NDArray[np.float64]
Shape = tuple[int, int]

COUNTS = (("train", "good", 120), ("test", "good", 40), ("test", "crack", 40))
GRAIN = ((0.8, 5.0), (2.0, 3.0), (8.0, 2.5), (40.0, 5.0))
"""Deviation in pixels and strength in grey levels of each layer."""

_PIT, _CUT = 12, 8


def main() -> None:
    """Write the tree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--height", type=int, default=500)
    parser.add_argument("--width", type=int, default=1250)
    options = parser.parse_args()
    shape = (options.height, options.width)
    for split, label, count in COUNTS:
        for number in range(count):
            rng = np.random.default_rng([len(split), len(label), number])
            image = surface(shape, rng)
            if label == "crack":
                depth, mask = crack(shape, rng)
                _save(
                    mask.astype(np.float64) * 255,
                    options.out / "ground_truth" / label / f"{number:03}_mask.png",
                )
                image -= depth
            image += rng.normal(0, 1.5, shape)
            _save(image, options.out / split / label / f"{number:03}.png")


def surface(shape: Shape, rng: np.random.Generator) -> Plane:
    """Return grey levels (H, W) of good metal."""
    height, width = shape
    image = rng.uniform(105, 150) + sum(
        (strength * _noise(shape, deviation, rng) for deviation, strength in GRAIN), np.zeros(shape)
    )
    image += 3.0 * _noise(shape, (0.7, 60), rng)
    y, x = np.mgrid[0:height, 0:width] / max(shape)
    image += rng.uniform(-25, 25) * (x - x.mean()) + rng.uniform(-25, 25) * (y - y.mean())
    for _ in range(rng.poisson(12)):
        row, column, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(1.2, 4)
        near, squared = _window(shape, row, column, _PIT)
        image[near] -= rng.uniform(10, 40) * np.exp(-squared / (2 * radius**2))
    for _ in range(rng.poisson(2)):
        row, start, length = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(60, 400)
        y, x = np.mgrid[0:height, 0:width]
        along = 1 / (1 + np.exp(-(x - start) / 10)) / (1 + np.exp((x - start - length) / 10))
        strength = rng.choice([-1, 1]) * rng.uniform(6, 14)
        image += strength * along * np.exp(-(((y - row) / 1.5) ** 2))
    return np.asarray(image)


def crack(shape: Shape, rng: np.random.Generator) -> tuple[Plane, npt.NDArray[np.bool_]]:
    """Return how much darker a crack makes each pixel, and its mask, (H, W)."""
    steps, heading = int(rng.uniform(50, 260)), rng.uniform(0, np.pi)
    place = np.array([rng.uniform(0.1, 0.9) * shape[0], rng.uniform(0.1, 0.9) * shape[1]])
    path, angle = [place], heading
    for _ in range(steps):
        angle += rng.normal(0, 0.35)
        angle += 0.15 * (heading - angle)
        path.append(path[-1] + np.array([np.sin(angle), np.cos(angle)]))
    along = np.linspace(0, 1, len(path))
    widths = np.interp(along, np.linspace(0, 1, 6), rng.uniform(0.6, 1.8, 6))
    order = np.arange(len(path))
    widths *= np.minimum(1, np.minimum(order, order[::-1]) / 10)
    depths = np.interp(along, np.linspace(0, 1, 8), rng.uniform(12, 45, 8))
    darker, mask = np.zeros(shape), np.zeros(shape, np.bool_)
    for (row, column), width, depth in zip(path, widths, depths, strict=True):
        near, squared = _window(shape, row, column, _CUT)
        line = depth * np.exp(-squared / (2 * (0.7 * width + 0.2) ** 2))
        darker[near] = np.maximum(darker[near], line)
        mask[near] |= squared <= 3.5**2
    return darker, mask


def _noise(shape: Shape, deviation: Any, rng: np.random.Generator) -> Plane:
    smooth = gaussian_filter(rng.standard_normal(shape), deviation)
    return np.asarray(smooth / smooth.std())


def _window(shape: Shape, row: float, column: float, reach: int) -> tuple[tuple[slice, slice], Plane]:
    """Return the part of a plane around a place, and squared distances from the place in it."""
    rows, columns = (
        slice(*np.clip([int(middle - reach), int(middle + reach)], 0, length))
        for length, middle in zip(shape, (row, column), strict=True)
    )
    y, x = np.mgrid[rows, columns]
    return (rows, columns), (y - row) ** 2 + (x - column) ** 2


def _save(levels: Plane, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(path)


if __name__ == "__main__":
    main()
