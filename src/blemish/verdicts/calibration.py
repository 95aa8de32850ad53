"""From raw scores to a decision: a threshold with a known false-alarm rate, and p-values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Calibration:
    """The scores of held-out good photos, sorted, and the rate of false alarms asked for.

    If new good photos come from the same line, each scores at or above `threshold` with a chance of
    at most `false_alarm_rate`: split conformal prediction (Vovk et al. 2005), exact for any score.
    """

    scores: tuple[float, ...]
    false_alarm_rate: float

    @classmethod
    def of(cls, scores: Sequence[float], false_alarm_rate: float) -> Calibration:
        """Return the calibration by these raw scores of good photos, in any order."""
        return cls(tuple(sorted(float(score) for score in scores)), false_alarm_rate)

    @property
    def threshold(self) -> float:
        """The smallest threshold that keeps the promised rate.

        With n scores it lies just above the k-th largest, k = floor(rate * (n + 1)), counted so that
        p_value(threshold) <= rate. With too few photos for the rate (k = 0) it lies just above the
        largest: the best that n photos can promise is 1 / (n + 1).
        """
        if not self.scores:
            return math.inf
        allowed = math.floor(self.false_alarm_rate * (len(self.scores) + 1) + 1e-9)
        rank = min(max(1, allowed), len(self.scores))
        return math.nextafter(self.scores[-rank], math.inf)

    @property
    def guaranteed_rate(self) -> float:
        """The rate of false alarms that the threshold really promises: asked for, or 1 / (n + 1)."""
        return max(self.false_alarm_rate, 1 / (len(self.scores) + 1))

    def p_value(self, score: float) -> float:
        """Return the conformal p-value of a raw score, in (0, 1] (Vovk et al. 2005).

        p = (1 + #{held-out good photos that score at least as high}) / (1 + n)
        """
        at_least = len(self.scores) - int(np.searchsorted(self.scores, score, side="left"))
        return (1 + at_least) / (1 + len(self.scores))

    def summary(self) -> dict[str, Any]:
        """Return the calibration ready for JSON; `Calibration.of` takes its scores and rate back."""
        return {
            "false_alarm_rate": self.false_alarm_rate,
            "threshold": self.threshold,
            "scores": list(self.scores),
        }

    def warning(self) -> str | None:
        """Return what is wrong when there are too few good photos for the rate asked, else None."""
        needed = np.ceil(1 / self.false_alarm_rate) - 1
        if len(self.scores) >= needed:
            return None
        return (
            f"{len(self.scores)} held-out good photos cannot promise a false-alarm rate of "
            f"{self.false_alarm_rate:.1%}, only {self.guaranteed_rate:.1%}: "
            f"it takes at least {needed:.0f}"
        )
