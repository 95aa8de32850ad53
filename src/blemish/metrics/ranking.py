"""How well scores put defects above normal items: AUROC, AP and F1-max over every threshold.

A curve of true against false alarms can only turn at the score of a defect, so all of it follows
from one question: how many normal scores lie above each defect's score? Sorting the normal scores
once answers it for any number of pixels without a table of thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from blemish.errors import BlemishError

Floats = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.int64]

# Bounds the temporary arrays however many defect pixels there are.
BLOCK = 1 << 20


class F1Max(NamedTuple):
    """The best F1 score, in [0, 1], and the threshold (score >= threshold) that reaches it."""

    value: float
    threshold: float


class Curve(NamedTuple):
    """Points of a curve, both coordinates in [0, 1], from the highest threshold to the lowest."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]


def above(ordered: Floats, scores: Floats) -> Counts:
    """Return how many of the ascending `ordered` lie strictly above each score."""
    return len(ordered) - np.searchsorted(ordered, scores, side="right")


def at_or_above(ordered: Floats, scores: Floats) -> Counts:
    """Return how many of the ascending `ordered` lie at or above each score."""
    return len(ordered) - np.searchsorted(ordered, scores, side="left")


def thinned(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], points: int) -> Curve:
    """Return at most `points` of a curve's own points, evenly spaced along it, both ends kept."""
    if len(x) <= points:
        return Curve(x, y)
    steps = np.abs(np.diff(x)) + np.abs(np.diff(y))
    length = np.concatenate([[0.0], np.cumsum(steps)])
    kept = np.unique(np.searchsorted(length, np.linspace(0, length[-1], points)))
    return Curve(x[kept], y[kept])


@dataclass(frozen=True, eq=False, slots=True)
class Ranking:
    """Scores of normal and of defective items, each ascending and of one float type."""

    normal: Floats
    defect: Floats

    @classmethod
    def of(cls, scores: npt.ArrayLike, labels: npt.ArrayLike) -> Ranking:
        """Return the ranking of scores (n,) with labels (n,), 1 or True = defect.

        Raises:
            BlemishError: shapes differ, a label is neither 0 nor 1, or a score is not finite.
        """
        values, truth = np.asarray(scores), np.asarray(labels)
        if values.ndim != 1 or values.shape != truth.shape:
            raise BlemishError(
                f"expected scores and labels of one shape (n,), got {values.shape} and {truth.shape}",
                hint="give one score and one label for each item; flatten maps and masks first",
            )
        if not np.isin(truth, (0, 1)).all():
            raise BlemishError(
                f"expected labels 0 (good) and 1 (defect), got {np.unique(truth)[:5].tolist()}",
                hint="compare first, for example labels > 0",
            )
        if not np.issubdtype(values.dtype, np.floating):
            values = values.astype(np.float64)
        if not np.isfinite(values).all():
            raise BlemishError(
                f"expected finite scores, got {int((~np.isfinite(values)).sum())} that are not",
                hint="look for a diverged training run or an overflow in half precision",
            )
        defective = truth.astype(bool)
        return cls(normal=np.sort(values[~defective]), defect=np.sort(values[defective]))

    @property
    def defined(self) -> bool:
        """Whether both classes have an item, without which no ranking metric means anything."""
        return len(self.normal) > 0 and len(self.defect) > 0

    def auroc(self) -> float:
        """Return the chance that a defect outranks a normal item (Hanley and McNeil 1982); or NaN.

        A tie counts half.
        """
        if not self.defined:
            return float("nan")
        higher = sum(
            int(above(self.normal, block).sum() + at_or_above(self.normal, block).sum())
            for block in self._blocks()
        )
        return 1 - higher / (2 * len(self.normal) * len(self.defect))

    def average_precision(self) -> float:
        """Return the mean, over defects, of the precision at the defect's own score; or NaN.

            AP = sum_n (R_n - R_{n-1}) P_n

        summed over distinct thresholds without interpolation, as in scikit-learn. A constant score
        gives the share of defects.
        """
        if not self.defined:
            return float("nan")
        total = 0.0
        for block in self._blocks():
            hits = at_or_above(self.defect, block)
            total += float((hits / (hits + at_or_above(self.normal, block))).sum())
        return total / len(self.defect)

    def f1_max(self) -> F1Max:
        """Return the largest F1 (van Rijsbergen 1979) and the threshold that reaches it; or NaNs.

            F1 = 2 TP / (TP + FP + P)

        Of several thresholds that reach it, the highest: the one with the fewest alarms.
        """
        best = F1Max(float("nan"), float("nan"))
        if not self.defined:
            return best
        for block in self._blocks():
            hits = at_or_above(self.defect, block)
            alarms = hits + at_or_above(self.normal, block)
            score = 2 * hits / (alarms + len(self.defect))
            top = len(score) - 1 - int(score[::-1].argmax())
            if not score[top] < best.value:
                best = F1Max(float(score[top]), float(block[top]))
        return best

    def roc_curve(self, points: int = 512) -> Curve:
        """Return false alarms (x) against found defects (y) as shares; no points if undefined.

        Straight lines between the points enclose exactly the AUROC while the curve has at most
        `points` corners; beyond, it is thinned to `points` of them.
        """
        if not self.defined:
            return Curve(np.empty(0), np.empty(0))
        scores = np.unique(self.defect)[::-1]
        return thinned(
            corners(self.normal, scores) / len(self.normal),
            corners(self.defect, scores) / len(self.defect),
            points,
        )

    def precision_recall_curve(self, points: int = 512) -> Curve:
        """Return recall (x) against precision (y); no points if undefined.

        To be drawn as steps, each at the precision of its right end: the area is then the AP. At
        recall 0 it repeats the first precision, where scikit-learn puts 1. Thinned to `points`.
        """
        if not self.defined:
            return Curve(np.empty(0), np.empty(0))
        scores = np.unique(self.defect)[::-1]
        hits = at_or_above(self.defect, scores)
        precision = hits / (hits + at_or_above(self.normal, scores))
        recall = hits / len(self.defect)
        return thinned(
            np.concatenate([[0.0], recall]), np.concatenate([precision[:1], precision]), points
        )

    def _blocks(self) -> Iterator[Floats]:
        for start in range(0, len(self.defect), BLOCK):
            yield self.defect[start : start + BLOCK]


def corners(ordered: Floats, scores: Floats) -> npt.NDArray[np.float64]:
    """Return the counts of `ordered` at each turn of a curve through descending defect scores.

    Starts with 0 and ends with all; in between, each score has two: strictly above it, and at or
    above it. Returns (2 * len(scores) + 2,).
    """
    turns = np.stack([above(ordered, scores), at_or_above(ordered, scores)], axis=1).ravel()
    return np.concatenate([[0], turns, [len(ordered)]]).astype(np.float64)


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the area under the ROC curve, in [0, 1]; NaN when a class is missing.

    scores: (n,), higher = more anomalous; labels: (n,), 1 = defect.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    return Ranking.of(scores, labels).auroc()


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the average precision, in [0, 1]; NaN when a class is missing.

    scores: (n,), higher = more anomalous; labels: (n,), 1 = defect.
    """
    return Ranking.of(scores, labels).average_precision()


def f1_max(scores: npt.ArrayLike, labels: npt.ArrayLike) -> F1Max:
    """Return the best F1 over all thresholds and the threshold; NaNs when a class is missing.

    scores: (n,), higher = more anomalous; labels: (n,), 1 = defect.
    """
    return Ranking.of(scores, labels).f1_max()


def roc_curve(scores: npt.ArrayLike, labels: npt.ArrayLike, points: int = 512) -> Curve:
    """Return at most `points` points (false alarm share, detection share); see `Ranking`."""
    return Ranking.of(scores, labels).roc_curve(points)


def precision_recall_curve(scores: npt.ArrayLike, labels: npt.ArrayLike, points: int = 512) -> Curve:
    """Return at most `points` points (recall, precision), to be drawn as steps; see `Ranking`."""
    return Ranking.of(scores, labels).precision_recall_curve(points)
