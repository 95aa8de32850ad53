"""Does a generator paint where it is told? Masks in four corners and the centre, and hairlines.

    python benchmarks/control.py DATA RUN/generator OUT.json [--set painting.painter=network ...]

For each type and place: the share of the mask that has visibly changed (`fill`), the IoU of what has
changed by more than the photo's noise with the mask, and the largest change outside (grey levels).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import ndimage

from blemish.config import dotted
from blemish.data import read_dataset, read_sample
from blemish.generation import Generator
from blemish.generation.measures import realised
from blemish.randomness import numpy_generator

PHOTOS = 4
PLACES = {"top left": (0, 0), "top right": (0, 1), "bottom left": (1, 0), "bottom right": (1, 1)}


def masks(shape: tuple[int, int], radius: int) -> dict[str, np.ndarray]:
    """Return discs in the corners and the centre, and a line of two pixels through the centre."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    margin = radius + 4
    found = {}
    for name, (down, right) in PLACES.items():
        row = shape[0] - margin if down else margin
        column = shape[1] - margin if right else margin
        found[name] = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    middle = (shape[0] // 2, shape[1] // 2)
    found["centre"] = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 <= radius**2
    line = (np.abs(rows - middle[0] - (columns - middle[1]) // 3) < 1) | np.zeros(shape, bool)
    line[:, : middle[1] - 30] = line[:, middle[1] + 30 :] = False
    found["hairline"] = ndimage.binary_dilation(line, np.ones((2, 1)))
    return found


def overlap(good: np.ndarray, made: np.ndarray, mask: np.ndarray) -> float:
    """Return the IoU of the mask with what changed by more than two deviations of the photo's noise."""
    detail = good.astype(np.float32) - ndimage.uniform_filter(good.astype(np.float32), (3, 3, 0))
    noise = max(1.4826 * float(np.median(np.abs(detail))), 0.5)
    moved = np.abs(made.astype(np.float32) - good).max(2) > 2 * noise
    moved = ndimage.binary_closing(moved, np.ones((3, 3)))
    return float((moved & mask).sum() / max((moved | mask).sum(), 1))


def main() -> None:
    """Measure and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("generator", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    options = parser.parse_args()
    generator = Generator.load(options.generator, device="cpu")
    generator = generator.with_settings(dotted(options.sets)) if options.sets else generator
    goods = read_dataset(options.data).train
    figures: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for label in generator.types:
        rng = numpy_generator(0, "control", label)
        for number in rng.integers(len(goods), size=PHOTOS):
            photo = read_sample(goods[int(number)]).image
            for place, mask in masks(photo.shape[:2], 10).items():
                made = generator.paint(photo, label, mask, seed=int(number)).image
                outside = float(np.abs(made.astype(int) - photo)[~mask].max(initial=0))
                row = (realised(photo, made, mask)[1], overlap(photo, made, mask), outside)
                figures.setdefault(place, {}).setdefault(label, []).append(row)
    means = {}
    for place, types in figures.items():
        rows = np.array([row for some in types.values() for row in some])
        means[place] = dict(
            zip(("fill", "iou", "outside"), rows.mean(0).round(3).tolist(), strict=True)
        )
    print(json.dumps(means))
    options.out.write_text(json.dumps({"mean": means, "types": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
