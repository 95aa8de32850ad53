"""How far figures of a whole test set would move with other photos, and whether two really differ.

Photos are what is drawn again, not pixels: those of one photo stand and fall together. Several seeds of
one method are judged on the same redrawn photos, and so are two methods that are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError
from blemish.metrics.uncertainty import Interval

Counts = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]

BINS = 512


@dataclass(frozen=True, slots=True, eq=False)
class ImageCounts:
    """How many pixels of each photo fall into each bin of scores, lowest bin first.

    normal, defect: int64 (N, B). Enough to find pixel AP again for any redrawing of the photos, at a
    thousandth of the pixels' memory.
    """

    normal: Counts
    defect: Counts

    @classmethod
    def of(
        cls,
        maps: Sequence[npt.NDArray[np.floating]],
        masks: Sequence[npt.NDArray[np.bool_]],
        valid: Sequence[npt.NDArray[np.bool_]] | None = None,
        bins: int = BINS,
    ) -> Self:
        """Return the counts of score maps (H, W) with masks bool (H, W), True = defect.

        The bins' edges are quantiles of the defect pixels' scores and of the highest normal ones, where
        precision is decided; scores that are fewer than `bins` get one each, and nothing is lost.
        valid: False = leave the pixel out.

        Raises:
            ImageError: there are no maps, or not as many as masks.
        """
        if not maps or len(maps) != len(masks):
            raise ImageError(f"expected as many maps as masks, got {len(maps)} and {len(masks)}")
        kept = valid or [np.ones(mask.shape, np.bool_) for mask in masks]
        triples = list(zip(maps, masks, kept, strict=True))
        defect = np.concatenate([scores[mask & here] for scores, mask, here in triples])
        normal = np.concatenate([scores[~mask & here] for scores, mask, here in triples])
        high = _highest(normal, max(len(defect), bins))
        edges = np.unique(np.concatenate([_quantiles(part, bins) for part in (defect, high)]))
        rows = [
            [
                np.bincount(np.searchsorted(edges, scores[chosen], "right"), minlength=len(edges) + 1)
                for chosen in (~mask & here, mask & here)
            ]
            for scores, mask, here in triples
        ]
        counts = np.array(rows, np.int64)
        return cls(counts[:, 0], counts[:, 1])

    def average_precision(self, weights: npt.ArrayLike | None = None) -> float:
        """Return pixel AP with each photo counted `weights` times, (N,), once by default.

            AP = sum over bins, highest first, of (R_b - R_{b-1}) P_b

        Scores of one bin count as ties. NaN where no photo that counts has a defect pixel.
        """
        each = np.ones(len(self.normal)) if weights is None else np.asarray(weights, np.float64)
        hits = np.cumsum((each @ self.defect)[::-1])
        alarms = np.cumsum((each @ self.normal)[::-1])
        if hits[-1] == 0:
            return float("nan")
        steps = np.diff(hits, prepend=0.0)
        total = hits + alarms
        precision = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
        return float((steps * precision).sum() / hits[-1])


def weighted_auroc(
    scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Return image AUROC with each photo counted `weights` times; ties count half.

    scores: (n,); labels: (n,), 1 = defect; weights: (n,), 1 by default. NaN where a class is missing.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels, bool)
    each = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    _, place = np.unique(values, return_inverse=True)
    normal = np.bincount(place, each * ~truth)
    defect = np.bincount(place, each * truth)
    pairs = normal.sum() * defect.sum()
    if pairs == 0:
        return float("nan")
    below = np.cumsum(normal) - normal
    return float((defect * (below + normal / 2)).sum() / pairs)


def redrawn(labels: Sequence[str], rng: np.random.Generator, repeats: int = 1000) -> Weights:
    """Return how often each photo is drawn in each repeat, float64 (repeats, n), with replacement.

    Stratified: as many photos of each label as there are. labels: what each photo shows.
    """
    names = np.asarray(labels)
    weights = np.zeros((repeats, len(names)))
    for label in np.unique(names):
        members = np.flatnonzero(names == label)
        even = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), even, repeats)
    return weights


def percentile_interval(
    statistic: Callable[[Weights], float], weights: Weights, level: float = 0.95
) -> Interval:
    """Return the percentile bootstrap interval of a function of the photos' weights (Efron 1979).

    weights: as `redrawn` gives them; the same for two methods, and the interval of
    the difference of their figures is `percentile_interval(lambda w: a(w) - b(w), weights)`. NaNs where
    the figure is undefined in some repeat.
    """
    values = np.array([statistic(row) for row in weights])
    if not np.isfinite(values).all():
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _quantiles(scores: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.floating]:
    """Return at most `count` of the scores, evenly by rank; all different ones where they are few."""
    found = np.unique(scores)
    if len(found) <= count:
        return found
    ranked = np.sort(scores)
    places = np.linspace(0, len(ranked) - 1, count).round().astype(int)
    chosen: npt.NDArray[np.floating] = np.unique(ranked[places])
    return chosen


def _highest(scores: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.floating]:
    count = min(count, len(scores))
    highest: npt.NDArray[np.floating] = np.partition(scores, len(scores) - count)[-count:]
    return highest
