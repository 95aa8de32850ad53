"""How far a figure of a set of pictures would move with other pictures: by random halves of them.

The customary bootstrap draws with replacement. Its copies count as pictures that are exactly alike:
they raise the kernel distance, lower the distance within clusters, and let a classifier see what it
is judged by. Halves hold no copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.errors import ConfigError
from blemish.metrics.uncertainty import Interval


def halved(
    value: float,
    statistic: Callable[..., float],
    sizes: Sequence[int],
    rng: np.random.Generator,
    repeats: int = 100,
) -> npt.NDArray[np.float64]:
    """Return a statistic of random halves of its sets, about its value (Politis and Romano 1994).

        v_r = statistic(halves, drawn without replacement),    returned: value + v_r - mean v
        Var(mean of a half | all) = s^2 (2 / n - 1 / n) = s^2 / n = Var(mean of all)

    So halves are spread about the whole as the whole is about the truth, and need no rescaling. Moved,
    for what learns from a half is weaker. Where the first-order part vanishes (the kernel distance of
    equal distributions) halves are spread more widely, and an interval is too wide.

    value: of all pictures; statistic: of one array of indices per set; sizes: of the sets; halves of
    an odd number are rounded down. Returns (repeats,), NaN where a half does not define it.
    """
    halves = ([rng.permutation(n)[: n // 2] for n in sizes] for _ in range(repeats))
    values = np.array([statistic(*half) for half in halves], np.float64)
    known = np.isfinite(values)
    return values + value - values[known].mean() if known.any() else values


def halves_interval(values: npt.NDArray[np.floating[Any]], level: float = 0.95) -> Interval:
    """Return the ends between which the middle share of the values lies, those that are not NaN.

    Without width where all are equal; NaNs of none. values: (n,); level: the share inside, in (0, 1).

    Raises:
        ConfigError: `level` is outside (0, 1).
    """
    if not 0 < level < 1:
        raise ConfigError(f"expected a level between 0 and 1, got {level}", hint="0.95 is customary")
    known = values[np.isfinite(values)]
    if not len(known):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
