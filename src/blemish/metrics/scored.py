"""What detectors and localisers say of test photos, and every figure that follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from blemish.metrics.pixels import PixelScores
from blemish.metrics.ranking import auroc, average_precision, f1_max
from blemish.metrics.uncertainty import bootstrap, unanimous
from blemish.randomness import numpy_generator
from blemish.records import GOOD

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scored:
    """Image scores and pixel scores of the test photos, by defect type (`good` among them)."""

    images: dict[str, list[float]] = field(default_factory=dict)
    pixels: dict[str, PixelScores] = field(default_factory=dict)

    def add(
        self,
        label: str,
        score: float,
        values: npt.NDArray[np.floating],
        mask: Mask | None,
        valid: Mask | None = None,
    ) -> None:
        """Take in a photo: its image score, and its map (H, W) where it has a mask, bool (H, W).

        valid: False = leave the pixel out.

        Raises:
            ImageError: the map is malformed.
        """
        if mask is not None:
            self.pixels.setdefault(label, PixelScores()).add(values, mask, valid)
        self.images.setdefault(label, []).append(score)

    def figures(self, labels: Iterable[str] | None = None) -> dict[str, float | None]:
        """Return all metrics of the good photos against those of some defect types (default: all).

        Image AUROC, AP, F1-max, pixel AUROC, AP, F1-max and PRO, as of MVTec AD and rescaled as
        DiffusionAD's code does, each in [0, 1]; None where the photos do not define it. Pixels are
        those of the maps that were given.
        """
        chosen = [GOOD, *([t for t in self.images if t != GOOD] if labels is None else labels)]
        scores = [s for label in chosen for s in self.images.get(label, [])]
        truth = [label != GOOD for label in chosen for _ in self.images.get(label, [])]
        pixels = PixelScores.merged(self.pixels[t] for t in chosen if t in self.pixels)
        values = {
            "image_auroc": auroc(scores, truth),
            "image_ap": average_precision(scores, truth),
            "image_f1_max": f1_max(scores, truth).value,
            "pixel_auroc": pixels.auroc(),
            "pixel_ap": pixels.average_precision(),
            "pixel_f1_max": pixels.f1_max().value,
            "pro": pixels.pro(),
            "pro_rescaled": pixels.pro(mode="rescaled"),
        }
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def per_type(self) -> dict[str, dict[str, float | None]]:
        """Return the figures of each type of defect against all good photos, types in sorted order."""
        return {label: self.figures([label]) for label in sorted(self.images) if label != GOOD}

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the image AUROC, None where the photos do not tell one.

        By the bootstrap; of a perfect figure, which redrawing does not move, by `unanimous`.
        """
        scores = [s for values in self.images.values() for s in values]
        truth = [label != GOOD for label, values in self.images.items() for _ in values]
        area, defects = auroc(scores, truth), sum(truth)
        if area in (0, 1):
            found = unanimous(area, min(defects, len(truth) - defects))
        else:
            found = bootstrap(auroc, scores, truth, numpy_generator(0, "bootstrap"))
        return (found.low, found.high) if math.isfinite(found.low) else None
