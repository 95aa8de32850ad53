"""From raw scores to a decision: a threshold with a known false-alarm rate, and p-values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Calibration:
    """The scores of held-out good photos, sorted, and the rate of false alarms asked for.

    families: a number for each score, equal for photos of one part. If new good parts come from the
    same line, a photo of one scores at or above `threshold` with a chance of at most
    `false_alarm_rate`: split conformal prediction, exact for any score, in which every part counts
    alike however many photos show it (Vovk et al. 2005; Lee, Barber and Willett 2023).
    """

    scores: tuple[float, ...]
    families: tuple[int, ...]
    false_alarm_rate: float

    @classmethod
    def of(
        cls,
        scores: Sequence[float],
        false_alarm_rate: float,
        families: Sequence[int] | None = None,
    ) -> Calibration:
        """Return the calibration by these raw scores of good photos; families: None = all strangers."""
        if families is None or len(set(families)) == len(scores):
            ordered = tuple(sorted(map(float, scores)))
            return cls(ordered, tuple(range(len(ordered))), false_alarm_rate)
        pairs = sorted(zip(map(float, scores), map(int, families), strict=True))
        return cls(tuple(s for s, _ in pairs), tuple(n for _, n in pairs), false_alarm_rate)

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `summary` told; without families all photos are strangers."""
        return cls.of(told["scores"], told["false_alarm_rate"], told.get("families"))

    @cached_property
    def parts(self) -> int:
        """How many parts the photos show."""
        return len(set(self.families))

    @property
    def of_parts(self) -> str:
        """In words how many parts the photos show, "" where each shows another."""
        return "" if self.parts == len(self.scores) else f" of {self.parts} parts"

    @cached_property
    def threshold(self) -> float:
        """The smallest threshold that keeps the promised rate: just above one of the scores.

        p_value(threshold) <= rate. With too few parts for the rate it lies just above the largest
        score: the best that n parts can promise is 1 / (n + 1).
        """
        if not self.scores:
            return math.inf
        allowed = self.false_alarm_rate * (1 + self.parts) - 1 + _ROUNDING
        above = self._at_least[np.searchsorted(self.scores, self.scores, side="right")]
        kept = np.flatnonzero(above <= allowed)
        return math.nextafter(self.scores[kept[0] if len(kept) else -1], math.inf)

    @property
    def guaranteed_rate(self) -> float:
        """The rate of false alarms that the threshold really promises: asked for, or 1 / (n + 1)."""
        return max(self.false_alarm_rate, 1 / (self.parts + 1))

    def p_value(self, score: float) -> float:
        """Return the conformal p-value of a raw score, in (0, 1] (Lee, Barber and Willett 2023).

        p = (1 + sum over parts of the share of its photos that score at least as high) / (1 + parts)
        """
        return (1 + self.parts_at_least(score)) / (1 + self.parts)

    def parts_at_least(self, score: float) -> float:
        """Return how many parts score at least as high; of one of many photos the share that does."""
        return float(self._at_least[np.searchsorted(self.scores, score, side="left")])

    @cached_property
    def _at_least(self) -> npt.NDArray[np.float64]:
        """Return for each place the parts, or shares of parts, from there on; 0 after the last."""
        sizes = Counter(self.families)
        shares = [1 / sizes[family] for family in self.families]
        return np.append(np.cumsum(shares[::-1])[::-1], 0.0)

    def summary(self) -> dict[str, Any]:
        """Return the calibration ready for JSON, for `read`."""
        return {
            "false_alarm_rate": self.false_alarm_rate,
            "threshold": self.threshold,
            "scores": list(self.scores),
            "families": list(self.families),
        }

    @property
    def needed(self) -> float:
        """The fewest parts that the rate can be promised by, a whole number or infinite."""
        return float(np.ceil(1 / self.false_alarm_rate) - 1)

    def warning(self) -> str | None:
        """Return what is wrong when there are too few good parts for the rate asked, else None."""
        if self.parts >= self.needed:
            return None
        return (
            f"{len(self.scores)} held-out good photos{self.of_parts} cannot promise a false-alarm rate "
            f"of {self.false_alarm_rate:.1%}, only {self.guaranteed_rate:.1%}: it takes at least "
            f"{self.needed:.0f}"
        )
