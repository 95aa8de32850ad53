"""How far a metric would move with another draw of the same kind of photos."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, betaln

from blemish.errors import ConfigError
from blemish.metrics.ranking import Ranking

Metric = Callable[[npt.NDArray[np.floating[Any]], npt.NDArray[np.bool_]], float]


class Interval(NamedTuple):
    """The two ends of a confidence interval; NaNs where the metric is undefined."""

    low: float
    high: float


def bootstrap(
    metric: Metric,
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    repeats: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return the percentile bootstrap interval of an image-level metric (Efron 1979).

    Stratified: every repeat draws, with replacement, as many good and as many defective images as
    there are, so that no repeat loses a class. NaNs where all repeats agree, as they do on a perfect
    figure: an interval of no width would say that so few images leave no doubt (see `unanimous`).
    metric: a function of scores and labels such as `auroc`; scores: (n,); labels: (n,), 1 = defect;
    level: the share of repeats inside.

    Raises:
        ConfigError: `repeats` is below 1, or `level` is outside (0, 1).
        BlemishError: scores or labels are malformed.
    """
    if repeats < 1 or not 0 < level < 1:
        raise ConfigError(
            f"expected at least 1 repeat and a level between 0 and 1, got {repeats} and {level}",
            hint="1000 repeats at level 0.95 are customary",
        )
    ranking = Ranking.of(scores, labels)
    if not ranking.defined:
        return Interval(float("nan"), float("nan"))
    truth = np.repeat([False, True], [len(ranking.normal), len(ranking.defect)])
    values = np.empty(repeats)
    for repeat in range(repeats):
        normal = rng.choice(ranking.normal, len(ranking.normal))
        defect = rng.choice(ranking.defect, len(ranking.defect))
        values[repeat] = metric(np.concatenate([normal, defect]), truth)
    if np.ptp(values) == 0:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def unanimous(area: float, pairs: int, *, level: float = 0.95) -> Interval:
    """Return the interval of an AUROC of exactly 1 or 0 (Clopper and Pearson 1934, at all hits).

        area = 1:  A >= ((1 - level) / 2)^(1 / pairs),    area = 0:  its mirror image

    pairs: the number of good images or of defective ones, whichever is smaller. So many pairs of one
    each share no image: independent trials, each in order with a chance of A, and all with A^pairs.
    Nothing narrower holds for all scores: where a share 1 - A of the rarer kind looks just like the
    other, all images are in order with that chance.
    """
    least: float = ((1 - level) / 2) ** (1 / pairs)
    return Interval(least, 1.0) if area == 1 else Interval(0.0, 1 - least)


def wilson(hits: int, trials: int, *, level: float = 0.95) -> Interval:
    """Return the score interval of a share, hits / trials, in [0, 1] (Wilson 1927).

        (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    Holds at 0 and at all hits too. NaNs without a trial.

    Raises:
        ConfigError: `level` is outside (0, 1), or hits are not within 0 and trials.
    """
    if not 0 <= hits <= trials or not 0 < level < 1:
        raise ConfigError(
            f"expected 0 <= hits <= trials and a level between 0 and 1, "
            f"got {hits} of {trials} at {level}",
            hint="count the hits among the trials; level 0.95 is customary",
        )
    if trials == 0:
        return Interval(float("nan"), float("nan"))
    share, z = hits / trials, NormalDist().inv_cdf((1 + level) / 2)
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    scale = 1 + z * z / trials
    return Interval(max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale))


def alarm_rate(above: float, held_out: int, *, level: float = 0.95) -> Interval:
    """Return where the rate of false alarms lies, in [0, 1], at a threshold that held-out photos set.

        rate ~ Beta(above + 1, held_out - above)

    above: the held-out good parts that score at or above the threshold, which lies just above another
    one's score; of a part of many photos the share of them (`Calibration.parts_at_least`). On average
    over such draws the rate is what split conformal prediction promises; in any one of them it lies
    around it, the wider the fewer parts there are (Vovk 2012, Proposition 2a).

    Raises:
        ConfigError: `level` is outside (0, 1), or more are above than there are.
    """
    if not 0 <= above <= held_out or not 0 < level < 1:
        raise ConfigError(
            f"expected 0 <= above <= held out and a level between 0 and 1, "
            f"got {above} of {held_out} at {level}",
            hint="count the held-out good photos at or above the threshold",
        )
    if above == held_out:  # nothing says how much lower than all of them it lies
        return Interval(float(betaincinv(held_out, 1, (1 - level) / 2)) if held_out else 0.0, 1.0)
    low, high = betaincinv(above + 1, held_out - above, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def alarm_chance(rejected: int, tested: int, above: float, held_out: int) -> float:
    """Return the chance that at least `rejected` of `tested` new good photos are above the threshold.

        sum_(k >= rejected) C(tested, k) B(k + a, tested - k + b) / B(a, b)

    A beta-binomial tail, since the rate is Beta(a, b) as in `alarm_rate`: both the luck of the tested
    photos and that of the held-out ones count. 1 where no held-out photo is below the threshold.
    """
    if above >= held_out:
        return 1.0
    a, b = above + 1, held_out - above
    k = np.arange(rejected, tested + 1)
    ways = -np.log(tested + 1) - betaln(tested - k + 1, k + 1)
    return float(np.exp(ways + betaln(k + a, tested - k + b) - betaln(a, b)).sum())
