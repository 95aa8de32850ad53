"""Make a product line of photos that all show a defect: squares without one are its good photos.

    python benchmarks/cut_squares.py DATA OUT --side 128

Every second photo of a type gives the good squares to learn from; the others give the squares to
judge, good ones and those that a defect covers at least a hundredth of. OUT is an MVTec tree.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from scipy.ndimage import maximum_filter

from blemish.data import read_dataset, read_sample, write_png
from blemish.records import Record, by_label

ROOM = 9
"""No pixel of a good square lies in a window of this side about a pixel of a mask."""

LEAST = 0.01
"""Least share of a square that a defect to be judged covers; squares between are left out."""


def main() -> None:
    """Cut the photos and write the tree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=128, help="pixels")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for group in by_label(read_dataset(options.data).defects).values():
        for number, record in enumerate(group):
            counts += _cut(record, options.out, options.side, "test" if number % 2 else "train")
    print(dict(counts))


def _cut(record: Record, out: Path, side: int, split: str) -> Counter[str]:
    sample = read_sample(record)
    if sample.mask is None:
        raise SystemExit(f"{record.image} has no mask: nobody knows which of its squares are good")
    pixels, mask = sample.image, sample.mask
    near = maximum_filter(mask, ROOM)
    counts: Counter[str] = Counter()
    for top in range(0, mask.shape[0] - side + 1, side):
        for left in range(0, mask.shape[1] - side + 1, side):
            window = (slice(top, top + side), slice(left, left + side))
            name = f"{record.label}_{record.image.stem}_{top}_{left}"
            if not near[window].any():
                write_png(out / split / "good" / f"{name}.png", pixels[window])
                counts[f"{split} good"] += 1
            elif split == "test" and mask[window].mean() >= LEAST:
                write_png(out / split / record.label / f"{name}.png", pixels[window])
                write_png(out / "ground_truth" / record.label / f"{name}_mask.png", mask[window])
                counts[record.label] += 1
    return counts


if __name__ == "__main__":
    main()
