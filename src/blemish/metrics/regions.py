"""How much of every defect is found, whatever its size: the per-region overlap, PRO.

With regions r of the truth and all defect-free pixels N, at the threshold t

    PRO(t) = mean_r |{p in r : s_p >= t}| / |r|        FPR(t) = |{p in N : s_p >= t}| / |N|

and the score is the area under PRO over FPR in [0, limit], divided by the limit (MVTec AD;
Bergmann et al. 2019). Both sums split over pixels, so each pixel adds its own area, with the weight
1 / |r|: a lookup in the sorted defect-free scores, and no table of thresholds.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from blemish.errors import ConfigError
from blemish.metrics.ranking import (
    BLOCK,
    Curve,
    Floats,
    above,
    at_or_above,
    corners,
    thinned,
)

Regions = npt.NDArray[np.int32]
ProMode = Literal["mvtec", "rescaled"]

EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
RESCALED_STEPS = 1000


def label_regions(mask: npt.NDArray[np.bool_]) -> tuple[Regions, int]:
    """Return the 8-connected regions of a mask (H, W), numbered from 1, and their number."""
    labels, count = ndimage.label(mask, structure=EIGHT_CONNECTED)
    return labels, int(count)


def pro(
    normal: Floats,
    defect: Floats,
    region: Regions,
    *,
    limit: float = 0.3,
    mode: ProMode = "mvtec",
) -> float:
    """Return the normalised area under the per-region overlap curve (Bergmann et al. 2019), or NaN.

    normal: scores of all defect-free pixels, ascending. defect, region: score and region number
    (0, 1, ..., none left out) of each defect pixel, in any order, of one float type with `normal`.
    NaN without a region or without a defect-free pixel.

    mode `"mvtec"`: all thresholds, interpolated linearly at FPR = limit; a perfect map has 1, and a
    constant or random one limit / 2. mode `"rescaled"`, for comparison with the numbers of
    DiffusionAD and others: 1000 equidistant thresholds (score > threshold) from the highest score
    down, FPR <= limit kept, and the kept range stretched to [0, 1]; NaN if it is a single value.
    Holes in regions stay holes in both.

    Raises:
        ConfigError: the limit is outside (0, 1], or there is no such mode.
    """
    if not 0 < limit <= 1:
        raise ConfigError(
            f"expected a false positive rate in (0, 1] as the limit of PRO, got {limit}",
            hint="0.3 is what published numbers use",
        )
    if mode not in get_args(ProMode):
        raise ConfigError(
            f"expected one of {', '.join(get_args(ProMode))} as the mode of PRO, got {mode!r}",
            hint='"mvtec" is the definition; "rescaled" compares with DiffusionAD\'s numbers',
        )
    if not len(normal) or not len(defect):
        return float("nan")
    if mode == "rescaled":
        return _rescaled(normal, defect, region, limit)
    weights = _shares(region)
    area = 0.0
    for start in range(0, len(defect), BLOCK):
        block = slice(start, start + BLOCK)
        # Ascending questions walk through memory once; random ones would miss every cache.
        order = np.argsort(defect[block])
        areas = _areas(normal, defect[block][order], limit)
        area += float(weights[region[block][order]] @ areas)
    return area / limit


def pro_curve(normal: Floats, defect: Floats, region: Regions, points: int = 512) -> Curve:
    """Return the false positive rate (x) against the mean per-region overlap (y).

    Arguments as for `pro`. Straight lines between the points are exactly the curve over all
    thresholds while it has at most `points` corners; beyond, it is thinned to `points` of them.
    No points without a region or without a defect-free pixel.
    """
    if not len(normal) or not len(defect):
        return Curve(np.empty(0), np.empty(0))
    scores, rank = np.unique(defect, return_inverse=True)
    gains = np.bincount(rank, weights=_shares(region)[region])[::-1]
    reached = np.minimum(np.cumsum(gains), 1)
    before = np.concatenate([[0.0], reached[:-1]])
    overlap = np.concatenate([[0.0], np.stack([before, reached], axis=1).ravel(), [1.0]])
    return thinned(corners(normal, scores[::-1]) / len(normal), overlap, points)


def _shares(region: Regions) -> npt.NDArray[np.float64]:
    """Return what one pixel of each region adds to the mean overlap: 1 / (area * regions)."""
    sizes = np.bincount(region)
    return 1 / (sizes * float(len(sizes)))


def _areas(normal: Floats, scores: Floats, limit: float) -> npt.NDArray[np.float64]:
    """Return the area over [0, limit] of each pixel's own curve, which rises from 0 to 1.

    It rises at the share of defect-free pixels above the score; where some are tied with it, along
    a straight line as wide as the tie.
    """
    start = above(normal, scores) / len(normal)
    end = at_or_above(normal, scores) / len(normal)
    whole = limit - (start + end) / 2
    # A tie across the limit: only the part of the slope left of it counts.
    width = np.where(end > start, end - start, 1)
    cut = (limit - start) ** 2 / (2 * width)
    return np.where(end <= limit, whole, np.where(start < limit, cut, 0.0))


def _rescaled(normal: Floats, defect: Floats, region: Regions, limit: float) -> float:
    """Return PRO as DiffusionAD's evaluation counts it: see `pro`."""
    order = np.argsort(defect)
    ordered = defect[order]
    reached = np.concatenate([[0.0], np.cumsum(_shares(region)[region[order]][::-1])])
    highest = max(normal[-1], ordered[-1])
    step = (highest - min(normal[0], ordered[0])) / normal.dtype.type(RESCALED_STEPS)
    thresholds = highest - np.arange(RESCALED_STEPS, dtype=normal.dtype) * step
    rates = above(normal, thresholds) / len(normal)
    kept = rates <= limit
    rates, overlap = rates[kept], reached[above(ordered, thresholds[kept])]
    width = rates[-1] - rates[0]
    area = np.diff(rates) @ (overlap[1:] + overlap[:-1]) / 2
    return min(float(area / width), 1.0) if width > 0 else float("nan")
