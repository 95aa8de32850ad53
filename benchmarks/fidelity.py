"""How real, exact and varied generated defects are, beside baselines, against unread real ones.

    blemish learn DATA --out RUN --shots third --seed 0
    blemish generate RUN/generator DATA --out PAIRS --count 100
    python benchmarks/fidelity.py DATA RUN/generator PAIRS OUT.json [--lpips FOLDER]

Real defects are those that `learn` did not read: all but the first third of each type. Crop&Paste takes
a read defect as it is to a random place of a random good photo; Perlin paints DiffusionAD's drawn
defects. What the figures are says `blemish.experiments.generation_quality.judge`. FOLDER holds VGG16's
weights for LPIPS; with the file of InceptionV3's the features are its, and there is an Inception Score.
Both need `pip install 'blemish[metrics]'`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from blemish.data import first_third, read_dataset, read_sample
from blemish.experiments.generation_quality import judge
from blemish.generation import Entry, Generator, read_manifest
from blemish.generation.masks import bounds
from blemish.networks import Perceptual, open_inception
from blemish.randomness import numpy_generator
from blemish.records import Sample
from blemish.runtime import configure_logging, write_json
from blemish.synthesis import ProceduralTextures, ProductKind, Recipe, foreground, synthesise

Pair = tuple[np.ndarray, np.ndarray]


def crop_and_paste(real: Sequence[Pair], good: np.ndarray, rng: np.random.Generator) -> Pair:
    """Return a read defect, cut out along its mask, at a random place of a good photo."""
    photo, mask = real[int(rng.integers(len(real)))]
    first, last = bounds(mask)
    height, width = np.minimum(last - first, good.shape[:2])
    rows, columns = slice(first[0], first[0] + height), slice(first[1], first[1] + width)
    part, shape = photo[rows, columns], mask[rows, columns]
    top = int(rng.integers(good.shape[0] - height + 1))
    left = int(rng.integers(good.shape[1] - width + 1))
    image, where = good.copy(), np.zeros(good.shape[:2], np.bool_)
    where[top : top + height, left : left + width] = shape
    image[where] = part[shape]
    return image, where


def perlin(kind: ProductKind, good: np.ndarray, rng: np.random.Generator) -> Pair:
    """Return a good photo with one of the drawn defects that detectors train on."""
    product = foreground(good) if kind == "object" else np.ones(good.shape[:2], np.bool_)
    grey = bool(np.ptp(good, axis=2).max() == 0)
    return synthesise(good, product, Recipe(kind=kind, monochrome=grey), ProceduralTextures(), rng)


def gate(entries: Sequence[Entry]) -> dict[str, float]:
    """Return what the generator measured itself when it painted these pairs."""
    scores = {k: np.array([e.scores[k] for e in entries]) for k in ("fill", "outside", "copy")}
    return {
        "fill": float(scores["fill"].mean()),
        "outside": float(scores["outside"].max()),
        "copy_median": float(np.median(scores["copy"])),
        "copy_most": float(scores["copy"].max()),
        "accepted": float(np.mean([e.accepted for e in entries])),
        "pairs": len(entries),
    }


def main() -> None:
    """Measure a folder of pairs and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("generator", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lpips", type=Path, metavar="FOLDER")
    parser.add_argument("--whole", action="store_true", help="IC-LPIPS of whole pictures too (slow)")
    parser.add_argument("--inception", type=Path, metavar="FILE")
    parser.add_argument("--halves", type=int, default=0, help="draws for the intervals, such as 100")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    configure_logging()
    dataset = read_dataset(options.data)
    generator = Generator.load(options.generator, device="cpu")
    known = (record for record in dataset.defects if record.label in generator.types)
    read, unread = ([read_sample(record) for record in part] for part in first_third(known))
    entries = read_manifest(options.pairs).entries.values()
    mine = {label: [e for e in entries if e.label == label] for label in generator.types}

    def baseline(label: str, make: Callable[[np.ndarray, np.random.Generator], Pair]) -> list[Pair]:
        pairs = []
        for index in range(len(mine[label])):
            rng = numpy_generator(options.seed, make.__name__, label, index)
            record = dataset.train[int(rng.integers(len(dataset.train)))]
            pairs.append(make(read_sample(record).image, rng))
        return [pair for pair in pairs if pair[1].any()]

    sets: dict[str, dict[str, list[Pair]]] = {"generated": {}, "crop_and_paste": {}, "perlin": {}}
    for label in mine:
        few = _pairs(s for s in read if s.record.label == label)

        def paste(good: np.ndarray, rng: np.random.Generator, few: list[Pair] = few) -> Pair:
            return crop_and_paste(few, good, rng)

        def drawn(good: np.ndarray, rng: np.random.Generator) -> Pair:
            return perlin(generator.kind, good, rng)

        sets["generated"][label] = _pairs(read_sample(e.record(options.pairs)) for e in mine[label])
        sets["crop_and_paste"][label] = baseline(label, paste)
        sets["perlin"][label] = baseline(label, drawn)
    report = judge(
        unread,
        read,
        sets,
        inception=open_inception(options.inception) if options.inception else None,
        perceptual=Perceptual.load(options.lpips) if options.lpips else None,
        whole=options.whole,
        seed=options.seed,
        repeats=options.halves,
    )
    for label, found in report["types"].items():
        found["generated"] |= gate(mine[label])
        found["generated"]["unread"] = len(_pairs(s for s in unread if s.record.label == label))
        print(label, json.dumps(found))
    print("mean", json.dumps(report["mean"]))
    write_json(options.out, report)


def _pairs(samples: Iterable[Sample]) -> list[Pair]:
    return [(s.image, s.mask) for s in samples if s.mask is not None and s.mask.any()]


if __name__ == "__main__":
    main()
