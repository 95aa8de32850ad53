"""How real, exact and varied generated defects are, beside baselines, against unread real ones.

    blemish learn DATA --out RUN --shots third --seed 0
    blemish generate RUN/generator DATA --out PAIRS --count 100
    python benchmarks/fidelity.py DATA RUN/generator PAIRS OUT.json [--lpips FOLDER]

Real defects are those that `learn` did not read: all but the first third of each type. Crop&Paste takes
a read defect as it is to a random place of a random good photo; Perlin paints DiffusionAD's drawn
defects. All are judged in squares of 128 pixels around the mask, by the mean features under the mask of
EfficientNet-Lite0 (ImageNet) at strides 2, 4, 8 and 16. LPIPS: VGG16 with the heads of the package
`lpips`; FOLDER holds vgg16.safetensors.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from blemish.data import first_third, read_dataset, read_sample, shrink_mask
from blemish.generation import Generator, read_manifest, window_around
from blemish.generation.masks import bounds
from blemish.generation.quality import encoder_features
from blemish.metrics import intra_cluster_distance, kernel_distance, separability
from blemish.networks import LiteEncoder
from blemish.records import Sample
from blemish.runtime import numpy_generator
from blemish.synthesis import ProceduralTextures, Recipe, foreground, synthesise

Pair = tuple[np.ndarray, np.ndarray]
SIDE, LPIPS_PAIRS = 128, 40


def squares(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the squares around the defects, as the network sees them, with their masks."""
    windows = [window_around(mask, SIDE) for _, mask in pairs]
    return [(w.cut(p), w.cut_mask(m)) for w, (p, m) in zip(windows, pairs, strict=True)]


def pooled(maps: Sequence[np.ndarray], mask: np.ndarray) -> np.ndarray:
    """Return the mean of each channel under the mask; channels have variance 1 on the read defects."""
    cells = [shrink_mask(mask, *level.shape[1:]) for level in maps]
    return np.concatenate([level[:, c].mean(1) for level, c in zip(maps, cells, strict=True)])


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


def perlin(kind: str, good: np.ndarray, rng: np.random.Generator) -> Pair:
    """Return a good photo with one of the drawn defects that detectors train on."""
    product = foreground(good) if kind == "object" else np.ones(good.shape[:2], np.bool_)
    grey = bool(np.ptp(good, axis=2).max() == 0)
    return synthesise(good, product, Recipe(kind=kind, monochrome=grey), ProceduralTextures(), rng)


class Lpips:
    """LPIPS with VGG16 between squares, over all of them and inside the mask (Zhang et al. 2018)."""

    def __init__(self, folder: Path) -> None:
        import lpips
        import torchvision
        from safetensors.torch import load_file

        vgg = torchvision.models.vgg16(weights=None).features
        state = load_file(folder / "vgg16.safetensors")
        vgg.load_state_dict({k.removeprefix("features."): v for k, v in state.items()})
        self.vgg = vgg.eval()
        self.heads = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()

    @torch.no_grad()
    def maps(self, pictures: Sequence[Pair]) -> list[list[torch.Tensor]]:
        """Return the unit features of each square, on the grid of its mask's box resized to 64."""
        found = []
        for image, mask in pictures:
            first, last = bounds(mask)
            box = image[first[0] : last[0], first[1] : last[1]]
            x = torch.from_numpy(np.array(box)).permute(2, 0, 1)[None].float() / 127.5 - 1
            x = torch.nn.functional.interpolate(x, (64, 64), mode="bilinear", antialias=True)
            x = self.heads.scaling_layer(x)
            levels = []
            for index, layer in enumerate(self.vgg):
                x = layer(x)
                if index in (3, 8, 15, 22, 29):
                    levels.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
            found.append(levels)
        return found

    @torch.no_grad()
    def distance(self, one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
        """Return LPIPS of two pictures from their features."""
        lins = [self.heads.lin0, self.heads.lin1, self.heads.lin2, self.heads.lin3, self.heads.lin4]
        apart = zip(lins, one, other, strict=True)
        return float(sum(lin((a - b).square()).mean() for lin, a, b in apart))


def main() -> None:
    """Measure a folder of pairs and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("generator", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lpips", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dataset = read_dataset(options.data)
    generator = Generator.load(options.generator, device="cpu")
    read, unread = ([read_sample(record) for record in part] for part in first_third(dataset.defects))
    entries = read_manifest(options.pairs).entries.values()
    look = torch.from_numpy(np.stack([a for a, _ in squares(_pairs(read))])).permute(0, 3, 1, 2)
    encoder = LiteEncoder.imagenet(look.float() / 255)
    features = encoder_features(encoder)
    lpips = None if options.lpips is None else Lpips(options.lpips)

    def vectors(pairs: Sequence[Pair]) -> np.ndarray:
        return np.stack([pooled(features(image), mask) for image, mask in squares(pairs)])

    def baseline(label: str, count: int, make: Callable[[np.ndarray, np.random.Generator], Pair]):
        pairs = []
        for index in range(count):
            rng = numpy_generator(options.seed, make.__name__, label, index)
            record = dataset.train[int(rng.integers(len(dataset.train)))]
            pairs.append(make(read_sample(record).image, rng))
        return [pair for pair in pairs if pair[1].any()]

    report: dict[str, dict[str, dict[str, float]]] = {}
    for label in generator.types:
        mine = [e for e in entries if e.label == label]
        made = _pairs([read_sample(e.record(options.pairs)) for e in mine])
        few = _pairs([s for s in read if s.record.label == label])
        real = _pairs([s for s in unread if s.record.label == label])

        def paste(good: np.ndarray, rng: np.random.Generator, few: list[Pair] = few) -> Pair:
            return crop_and_paste(few, good, rng)

        def drawn(good: np.ndarray, rng: np.random.Generator) -> Pair:
            return perlin(generator.kind, good, rng)

        sets = {
            "generated": made,
            "crop_and_paste": baseline(label, len(made), paste),
            "perlin": baseline(label, len(made), drawn),
            "read_real": few,
        }
        target = vectors(real)
        report[label] = {}
        for name, pairs in sets.items():
            found = vectors(pairs)
            rng = numpy_generator(options.seed, "separability", label, name)
            figures = {
                "kid": kernel_distance(found, target),
                "separability": separability(target, found, rng),
            }
            if lpips is not None and name != "read_real":
                maps = lpips.maps(squares(pairs[:LPIPS_PAIRS]))
                base = lpips.maps(squares(few))
                apart = np.array([[lpips.distance(a, b) for b in maps] for a in maps])
                to_real = np.array([[lpips.distance(a, b) for b in base] for a in maps])
                figures["ic_lpips"] = intra_cluster_distance(apart, to_real)
                figures["nearest_read_median"] = float(np.median(to_real.min(1)))
                figures["nearest_read_least"] = float(to_real.min())
            report[label][name] = figures
        scores = {k: np.array([e.scores[k] for e in mine]) for k in ("fill", "outside", "copy", "seam")}
        report[label]["generated"] |= {
            "fill": float(scores["fill"].mean()),
            "outside": float(scores["outside"].max()),
            "copy_median": float(np.median(scores["copy"])),
            "copy_most": float(scores["copy"].max()),
            "accepted": float(np.mean([e.accepted for e in mine])),
            "pairs": len(mine),
            "unread": len(real),
        }
        print(label, json.dumps(report[label]), flush=True)
    mean = {
        name: {
            figure: float(np.mean([report[t][name][figure] for t in generator.types]))
            for figure in ("kid", "separability")
        }
        for name in ("generated", "crop_and_paste", "perlin", "read_real")
    }
    print("mean", json.dumps(mean))
    options.out.write_text(json.dumps({"types": report, "mean": mean}, indent=1) + "\n")


def _pairs(samples: Sequence[Sample]) -> list[Pair]:
    return [(s.image, s.mask) for s in samples if s.mask is not None and s.mask.any()]


if __name__ == "__main__":
    main()
