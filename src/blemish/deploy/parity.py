"""Whether another form of a detector says what the trained one says, on real photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from blemish.data import read_sample
from blemish.errors import ArtifactError
from blemish.metrics import PixelScores, auroc
from blemish.records import Record
from blemish.verdicts import Detector


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The most that two forms may differ. map: mean over a photo's pixels; score: of a photo."""

    map: float
    score: float


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two forms of a detector are apart: over photos, the largest of each difference.

    photos: compared. map: mean difference over a photo's pixels; score: difference of its score.
    reference, exported: image AUROC and pixel AP of each, None where the photos cannot tell.
    """

    photos: int
    map: float
    score: float
    reference: dict[str, float] | None
    exported: dict[str, float] | None

    def summary(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self)

    def check(self, tolerance: Tolerance) -> None:
        """Return where both differences are within the tolerance.

        Raises:
            ArtifactError: one is not, or is no number.
        """
        for name in ("map", "score"):
            found, most = getattr(self, name), getattr(tolerance, name)
            if not found <= most:
                raise ArtifactError(
                    f"the exported {name} differs by {found:.4g} from PyTorch's, at most {most:g} was "
                    f"expected ({self.photos} photos); nothing was written",
                    hint="choose a finer --precision; --tolerance allows more, at your own risk",
                )


def compare(reference: Detector, exported: Detector, records: Sequence[Record]) -> Parity:
    """Return how far two forms are apart on photos.

    Raises:
        ImageError: a photo cannot be read.
    """
    maps, scores = [0.0], [0.0]
    sides = [_Side(), _Side()]
    for record in records:
        sample = read_sample(record)
        one, other = (
            next(form.predict_many([sample.image], reconstruct=False)) for form in (reference, exported)
        )
        maps.append(float(np.abs(one.map - other.map).mean()))
        scores.append(abs(one.score - other.score))
        for side, verdict in zip(sides, (one, other), strict=True):
            side.add(verdict.score, verdict.map, sample.mask, good=record.is_good)
    told = [side.figures() for side in sides]
    return Parity(len(records), float(np.max(maps)), float(np.max(scores)), *told)


class _Side:
    """What one form said of all photos."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.labels: list[bool] = []
        self.pixels = PixelScores()
        self.marked = False

    def add(self, score: float, values: Any, mask: Any, *, good: bool) -> None:
        self.scores.append(score)
        self.labels.append(not good)
        if mask is not None:
            self.pixels.add(values, mask)
            self.marked |= bool(mask.any())

    def figures(self) -> dict[str, float] | None:
        if len(set(self.labels)) < 2:
            return None
        found = {"image_auroc": auroc(self.scores, self.labels)}
        return found | ({"pixel_ap": self.pixels.average_precision()} if self.marked else {})
