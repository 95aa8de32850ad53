"""Pixel metrics of a whole test set, gathered image by image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError
from blemish.metrics.ranking import Curve, F1Max, Ranking
from blemish.metrics.regions import ProMode, label_regions, pro, pro_curve

Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class PixelScores:
    """The scores of every pixel seen so far, at the images' own resolutions; exact metrics of them.

    Takes 4 bytes for a defect-free pixel and 8 for a defect pixel, and twice that while it
    evaluates. Images may be added after an evaluation.
    """

    def __init__(self) -> None:
        self._normal: list[Scores] = []
        self._defect: list[Scores] = []
        self._region: list[npt.NDArray[np.int32]] = []
        self._regions = 0
        self._settled = True

    def add(self, scores: npt.ArrayLike, mask: npt.ArrayLike, valid: Mask | None = None) -> None:
        """Take in one image.

        scores: (H, W), higher = more anomalous, kept as float32; mask: bool (H, W), True = defect,
        all False for a good image; valid: bool (H, W), False = leave the pixel out of everything.

        Raises:
            ImageError: the shapes differ, the mask is not bool, or a score is not finite.
        """
        values, truth = np.asarray(scores, dtype=np.float32), np.asarray(mask)
        _check(values, truth, valid)
        if valid is not None:
            truth = truth & valid
        normal = ~truth if valid is None else valid & ~truth
        if not np.isfinite(values).all():
            raise ImageError(
                "expected finite scores, got a map with NaN or infinity",
                hint="look for a diverged training run or an overflow in half precision",
            )
        self._normal.append(values[normal])
        if truth.any():
            labels, count = label_regions(truth)
            self._defect.append(values[truth])
            self._region.append((labels[truth] + (self._regions - 1)).astype(np.int32))
            self._regions += count
        self._settled = False

    @classmethod
    def merged(cls, parts: Iterable[PixelScores]) -> PixelScores:
        """Return the scores of several sets of images as one set; the parts stay usable."""
        whole = cls()
        for part in parts:
            whole._normal += part._normal
            whole._defect += part._defect
            whole._region += [region + whole._regions for region in part._region]
            whole._regions += part._regions
        whole._settled = False
        return whole

    def auroc(self) -> float:
        """Return the area under the ROC curve over all pixels; NaN when a class is missing."""
        return self._ranking().auroc()

    def average_precision(self) -> float:
        """Return the average precision over all pixels; NaN when a class is missing."""
        return self._ranking().average_precision()

    def f1_max(self) -> F1Max:
        """Return the best pixel F1 over all thresholds and its threshold; NaNs if undefined."""
        return self._ranking().f1_max()

    def pro(self, *, limit: float = 0.3, mode: ProMode = "mvtec") -> float:
        """Return the area under the per-region overlap curve; see `regions.pro`."""
        normal, defect, region = self._settle()
        return pro(normal, defect, region, limit=limit, mode=mode)

    def pro_curve(self, points: int = 512) -> Curve:
        """Return false positive rate (x) against mean per-region overlap (y), for plotting."""
        return pro_curve(*self._settle(), points)

    def _ranking(self) -> Ranking:
        normal, defect, _ = self._settle()
        return Ranking(normal=normal, defect=np.sort(defect))

    def _settle(self) -> tuple[Scores, Scores, npt.NDArray[np.int32]]:
        """Return the sorted defect-free scores, the defect scores, and their regions."""
        if not self._settled:
            normal = np.concatenate(self._normal) if self._normal else np.empty(0, np.float32)
            normal.sort()
            self._normal = [normal]
            self._defect = [np.concatenate(self._defect)] if self._defect else []
            self._region = [np.concatenate(self._region)] if self._region else []
            self._settled = True
        if not self._normal:
            return np.empty(0, np.float32), np.empty(0, np.float32), np.empty(0, np.int32)
        if not self._defect:
            return self._normal[0], np.empty(0, np.float32), np.empty(0, np.int32)
        return self._normal[0], self._defect[0], self._region[0]


def _check(scores: Scores, mask: npt.NDArray[np.generic], valid: Mask | None) -> None:
    if scores.ndim != 2 or mask.shape != scores.shape:
        raise ImageError(
            f"expected a score map and a mask of one shape (H, W), got {scores.shape} and {mask.shape}",
            hint="resize the map to the mask's resolution first",
        )
    if mask.dtype != bool:
        raise ImageError(
            f"expected a mask of type bool, got {mask.dtype}",
            hint="compare first, for example mask > 0 for an 8-bit mask",
        )
    if valid is not None and (valid.shape != scores.shape or valid.dtype != bool):
        raise ImageError(
            f"expected valid pixels as bool {scores.shape}, got {valid.dtype} {valid.shape}",
            hint="leave it out to count every pixel",
        )
