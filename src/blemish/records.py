"""The nouns that travel between rooms: a photo on disk, a photo in memory, and a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

GOOD = "good"


@dataclass(frozen=True, slots=True)
class Record:
    """One photo on disk and what is known about it.

    label: `"good"` or the name of the defect type. split: `"train"` or `"test"`. mask: the defect's
    mask file, None when the photo is good or when nobody drew one. synthetic: made by a generator.
    source: SHA-256 of the good photo that a generated defect was painted on. made_of: SHA-256 of the
    photos whose real defects it was made of; empty where nobody noted them.
    """

    image: Path
    label: str = GOOD
    split: str = "train"
    mask: Path | None = None
    synthetic: bool = False
    source: str | None = None
    made_of: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether the photo shows a product without a defect."""
        return self.label == GOOD


def by_label(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the records of each label in the order that they came in; labels are sorted."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.label, []).append(record)
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo in memory.

    image: uint8 RGB (H, W, 3). mask: bool (H, W), True = defect; None when nobody drew one (a good
    photo has an all-False mask).
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_] | None
    record: Record


@dataclass(frozen=True, slots=True)
class Prediction:
    """The inspector's verdict on one photo.

    score: raw image score, higher = more anomalous; never rescaled. threshold: the score from which
    a photo counts as anomalous. p_value: the share of held-out good parts that score at least as
    high, (1 + count) / (1 + n), in (0, 1]. map: float32 (H, W) at the photo's own resolution, in
    [0, 1]. reconstruction: uint8 RGB (H, W, 3), the photo as it should look; None where not asked for.
    """

    score: float
    threshold: float
    p_value: float
    map: npt.NDArray[np.float32]
    reconstruction: npt.NDArray[np.uint8] | None = None

    @property
    def anomalous(self) -> bool:
        """Whether the score reaches the threshold."""
        return self.score >= self.threshold

    def summary(self) -> dict[str, Any]:
        """Return the verdict without its pictures, ready for JSON."""
        return {
            "score": self.score,
            "threshold": self.threshold,
            "p_value": self.p_value,
            "anomalous": self.anomalous,
        }
