"""How real and how varied sets of defects are, beside each other, against real ones not read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from blemish.data import shrink_mask
from blemish.errors import DatasetError
from blemish.generation import encoder_features, window_around
from blemish.generation.masks import bounds
from blemish.metrics import (
    drawn_members,
    halved,
    halves_interval,
    inception_score,
    intra_cluster_distance,
    kernel_distance,
    separability,
)
from blemish.networks import Inception, LiteEncoder, Perceptual, distances_to, distances_within
from blemish.randomness import numpy_generator
from blemish.records import Sample
from blemish.runtime import logger
from blemish.synthesis.arrays import Image, Mask

Pair: TypeAlias = tuple[Image, Mask]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]

READ = "read_real"
"""The name under which the read defects stand beside the sets: what other real defects get."""

LITE = "EfficientNet-Lite0 (ImageNet), masked"

SPLITS = 10
"""Parts that the Inception Score is a mean over."""

_SQUARE, _BOX, _WHOLE = 128, 64, 256


class Look(NamedTuple):
    """What a network sees of pairs: features (n, d), and probabilities of classes where it has any."""

    features: Floats
    classes: Floats | None = None


class Figure(NamedTuple):
    """A figure, and what it is for random halves of its pictures, (repeats,)."""

    value: float
    halves: Floats = np.zeros(0)


Figures: TypeAlias = dict[str, Figure]


def judge(
    real: Sequence[Sample],
    read: Sequence[Sample],
    sets: Mapping[str, Mapping[str, Sequence[Pair]]],
    *,
    inception: Inception | None = None,
    perceptual: Perceptual | None = None,
    whole: bool = False,
    reference: bool = True,
    most: int = 40,
    seed: int = 0,
    repeats: int = 100,
) -> dict[str, Any]:
    """Return the figures of each set by type of the read defects, and their means, ready for JSON.

    kid, separability: against the real ones of the type, by the features that the entry `features`
    names: Inception's of whole pictures; else EfficientNet-Lite0's under the mask, strides 2 to 16, in
    a square of 128 pixels around it, channels of variance 1 over the squares of the read defects.
    inception_score, inception_deviation: with Inception, over `SPLITS` parts of the pictures.
    ic_lpips, nearest_read_median, nearest_read_least: with `perceptual`, of the first `most` pairs:
    LPIPS in the mask's box resized to 64 x 64, within the clusters of the read defects, and to the
    nearest of these. ic_lpips_whole: with `whole`, of all pairs, as AnomalyDiffusion's code has it:
    pictures resized to 256 x 256, at most 50 of a cluster.
    With `reference` the read ones are a set, too, by the name of `READ`. A set's figures do not depend
    on the others.
    x_interval: of 95 %, by random halves of the pictures (`metrics.halved`).
    pictures: how many pairs a set has of each type.
    What the pictures cannot define is None, and so is a mean over it.

    real: defects that no generator has read; read: those that it was given; sets: pairs by the set's
    name, then by type. Samples without a mask are left out.

    Raises:
        DatasetError: no read defect has a mask.
    """
    few, unread = _by_type(read), _by_type(real)
    if not few:
        raise DatasetError("no read defect has a mask", hint="give those that `learn` has read")
    look = _whole_pictures(inception) if inception else _masked([p for of in few.values() for p in of])
    every = {**sets, READ: few} if reference else dict(sets)
    types: dict[str, dict[str, Figures]] = {}
    for label, known in few.items():
        target = look(unread.get(label, [])).features
        types[label] = {}
        for name, of_types in every.items():
            pairs = of_types.get(label, [])
            draws = _Draws(seed, repeats, label, name)
            figures = _realism(look(pairs), target, draws)
            if perceptual and pairs and name != READ:
                figures |= _variety(perceptual, pairs[:most], known, draws)
            if perceptual and pairs and name != READ and whole:
                figures |= _whole_variety(perceptual, pairs, known, draws)
            types[label][name] = figures
        logger.info(f"judged: {label}")
    return {
        "features": inception.name if inception else LITE,
        "seed": seed,
        "types": {t: {name: _written(f) for name, f in of.items()} for t, of in types.items()},
        "mean": {name: _written(_mean([of[name] for of in types.values()])) for name in every},
        "pictures": {name: {t: len(of.get(t, ())) for t in few} for name, of in every.items()},
    }


class _Draws(NamedTuple):
    """The random streams of one set of one type, and how many halves are drawn of it."""

    seed: int
    repeats: int
    label: str
    name: str

    def stream(self, what: str) -> np.random.Generator:
        return numpy_generator(self.seed, what, self.label, self.name)

    def figure(self, what: str, value: float, statistic: Callable[..., float], *sizes: int) -> Figure:
        """Return a value with those of random halves of its sets, named by their sizes."""
        rng = self.stream(f"halves of {what}")
        return Figure(value, halved(value, statistic, sizes, rng, self.repeats))


def _realism(seen: Look, target: Floats, draws: _Draws) -> Figures:
    """Return how far a set is from the real one, and how well the two are told apart."""
    found, sizes = seen.features, (len(seen.features), len(target))
    rng = draws.stream("separability of halves")
    kid = draws.figure(
        "kid",
        kernel_distance(found, target),
        lambda some, others: kernel_distance(found[some], target[others]),
        *sizes,
    )
    apart = draws.figure(
        "separability",
        separability(target, found, draws.stream("separability")),
        lambda some, others: separability(target[others], found[some], rng),
        *sizes,
    )
    # moved halves may leave the range of an area
    figures = {"kid": kid, "separability": Figure(apart.value, apart.halves.clip(0, 1))}
    if seen.classes is not None:
        score = inception_score(seen.classes, draws.stream("inception score"), splits=SPLITS)
        figures["inception_score"] = Figure(score.mean)
        figures["inception_deviation"] = Figure(score.deviation)
    return figures


def _variety(
    network: Perceptual, pairs: Sequence[Pair], read: Sequence[Pair], draws: _Draws
) -> Figures:
    """Return how varied the insides of masks are, and how near the nearest read defect is."""
    pictures = _boxes(pairs)
    to_real = distances_to(network, pictures, _boxes(read), _BOX)
    return {
        "ic_lpips": _within(network, pictures, to_real, _BOX, "ic_lpips", draws),
        "nearest_read_median": Figure(float(np.median(to_real.min(1)))),
        "nearest_read_least": Figure(float(to_real.min())),
    }


def _whole_variety(
    network: Perceptual, pairs: Sequence[Pair], read: Sequence[Pair], draws: _Draws
) -> Figures:
    """Return how varied whole pictures are, at most 50 of each cluster."""
    pictures = [image for image, _ in pairs]
    to_real = distances_to(network, pictures, [image for image, _ in read], _WHOLE)
    kept = drawn_members(to_real, draws.stream("members"))
    chosen = [pictures[index] for index in kept]
    name = "ic_lpips_whole"
    return {name: _within(network, chosen, to_real[kept], _WHOLE, name, draws)}


def _within(
    network: Perceptual,
    pictures: Sequence[Image],
    to_real: npt.NDArray[np.float64],
    side: int,
    name: str,
    draws: _Draws,
) -> Figure:
    """Return the mean distance of pictures within the clusters of the real ones."""
    apart = distances_within(network, pictures, to_real.argmin(1), side)
    return draws.figure(
        name,
        intra_cluster_distance(apart, to_real),
        lambda some: intra_cluster_distance(apart[np.ix_(some, some)], to_real[some]),
        len(pictures),
    )


def _mean(of_types: Sequence[Figures]) -> Figures:
    """Return the mean over types of each figure; their halves are drawn apart, and so add up."""
    found: Figures = {}
    for name in dict.fromkeys(name for figures in of_types for name in figures):
        parts = [figures.get(name, Figure(math.nan)) for figures in of_types]
        drawn = [part.halves for part in parts if len(part.halves)]
        halves = np.mean(drawn, axis=0) if len(drawn) == len(parts) else np.zeros(0)
        found[name] = Figure(float(np.mean([part.value for part in parts])), halves)
    return found


def _written(figures: Figures) -> dict[str, Any]:
    """Return figures and their intervals as JSON has them: None for NaN."""
    written: dict[str, Any] = {}
    for name, (value, halves) in figures.items():
        written[name] = value if math.isfinite(value) else None
        if len(halves):
            ends = halves_interval(halves)
            known = math.isfinite(value) and math.isfinite(ends.low)
            written[f"{name}_interval"] = list(ends) if known else None
    return written


def _by_type(samples: Iterable[Sample]) -> dict[str, list[Pair]]:
    """Return the pairs of each type that has any, types in sorted order."""
    found: dict[str, list[Pair]] = {}
    for sample in sorted(samples, key=lambda sample: sample.record.label):
        if sample.mask is not None and sample.mask.any():
            found.setdefault(sample.record.label, []).append((sample.image, sample.mask))
    return found


def _squares(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the squares around the defects, as the generator's network sees them, with their masks."""
    windows = [window_around(mask, _SQUARE) for _, mask in pairs]
    return [(w.cut(p), w.cut_mask(m)) for w, (p, m) in zip(windows, pairs, strict=True)]


def _boxes(pairs: Sequence[Pair]) -> list[Image]:
    """Return the boxes around the masks, of these squares."""
    boxes = []
    for image, mask in _squares(pairs):
        first, last = bounds(mask)
        boxes.append(image[first[0] : last[0], first[1] : last[1]])
    return boxes


def _masked(read: Sequence[Pair]) -> Callable[[Sequence[Pair]], Look]:
    """Return EfficientNet-Lite0 as a function of pairs: the mean of each channel under the mask."""
    pictures = torch.from_numpy(np.stack([image for image, _ in _squares(read)]))
    features = encoder_features(LiteEncoder.imagenet(pictures.permute(0, 3, 1, 2).float() / 255))

    def look(pairs: Sequence[Pair]) -> Look:
        vectors = np.zeros((len(pairs), sum(LiteEncoder.widths)), np.float32)
        for row, (image, mask) in zip(vectors, _squares(pairs), strict=True):
            levels = [m[:, shrink_mask(mask, *m.shape[1:])].mean(1) for m in features(image)]
            row[:] = np.concatenate(levels)
        return Look(vectors)

    return look


def _whole_pictures(inception: Inception) -> Callable[[Sequence[Pair]], Look]:
    """Return Inception as a function of pairs, which does not look at their masks."""
    return lambda pairs: Look(*inception([image for image, _ in pairs]))
