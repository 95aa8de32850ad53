"""Whether another form of a detector says what the trained one says, on real photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.data import read_sample
from blemish.errors import ArtifactError
from blemish.metrics.scored import Scored
from blemish.records import Prediction, Record
from blemish.verdicts import Detector

SHARE = 0.95
"""Of the photos, so many have to be within the tolerance."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The most that two forms may differ on 95 of 100 photos. map: mean over pixels; score: of a photo.

    A rare photo may differ by more: a score is the mean of few pixels, and where a detector has learned
    from examples, a rounding of one of its logits counts twice.
    """

    map: float
    score: float


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two forms of a detector are apart.

    photos: compared. map: mean difference over a photo's pixels; score: difference of its score; each
    is what 95 of 100 photos stay below. worst_score: the largest difference of a score. reference,
    exported: image AUROC and pixel AP of each, None where the photos cannot tell. calibrated_score: as
    score, from the detector in the number format that its threshold was set in; None where the
    reference is that.
    """

    photos: int
    map: float
    score: float
    worst_score: float
    reference: dict[str, float] | None
    exported: dict[str, float] | None
    calibrated_score: float | None = None

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
                    f"the exported {name} differs by {found:.4g} from PyTorch's in one of 20 photos, "
                    f"at most {most:g} was expected ({self.photos} photos); nothing was written",
                    hint="choose a finer --precision; --tolerance allows more, at your own risk",
                )


def compare(
    reference: Detector,
    exported: Detector,
    records: Sequence[Record],
    calibrated: Detector | None = None,
) -> Parity:
    """Return how far two forms are apart on photos.

    calibrated: the detector in the number format that its threshold was set in, where the reference is
    in another.

    Raises:
        ImageError: a photo cannot be read.
    """
    maps: list[float] = []
    scores: list[float] = []
    apart: list[float] = []
    sides = Scored(), Scored()
    for record in records:
        sample = read_sample(record)
        one, other = (_verdict(form, sample.image) for form in (reference, exported))
        maps.append(float(np.abs(one.map - other.map).mean()))
        scores.append(abs(one.score - other.score))
        if calibrated is not None:
            apart.append(abs(_verdict(calibrated, sample.image).score - other.score))
        for side, verdict in zip(sides, (one, other), strict=True):
            side.add(record.label, verdict.score, verdict.map, sample.mask)
    told = [_told(side.figures()) for side in sides]
    return Parity(
        photos=len(records),
        map=_typical(maps),
        score=_typical(scores),
        worst_score=max(scores),
        reference=told[0],
        exported=told[1],
        calibrated_score=_typical(apart) if apart else None,
    )


def _verdict(form: Detector, image: npt.NDArray[np.uint8]) -> Prediction:
    return next(form.predict_many([image], reconstruct=False))


def _typical(differences: Sequence[float]) -> float:
    """Return what `SHARE` of the photos stay within: a real photo's, of twenty or fewer the largest."""
    return float(np.quantile(differences, SHARE, method="higher"))


def _told(figures: dict[str, float | None]) -> dict[str, float] | None:
    """Return what the card tells of a form's figures, None where the photos define none of images."""
    found = {name: figures[name] for name in ("image_auroc", "pixel_ap")}
    if found["image_auroc"] is None:
        return None
    return {name: value for name, value in found.items() if value is not None}
