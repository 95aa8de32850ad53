"""Judge a detector on its test photos in other light: darker, brighter, warmer, with a slope of light.

    python benchmarks/other_light.py DETECTOR DATA [--every 3]

Prints one JSON line a light: image AUROC, pixel AP, PRO, and the shares of photos called anomalous.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from blemish import Detector
from blemish.data import read_dataset
from blemish.experiments.evaluation import predictions
from blemish.metrics.scored import Scored
from blemish.records import Prediction

Light = tuple[npt.ArrayLike, npt.ArrayLike]

WARM = (1.05, 1.0, 0.95)
LIGHTS: dict[str, Light] = {
    "as it is": (1.0, 1.0),
    "darker": (0.85, 0.85),
    "brighter": (1.15, 1.15),
    "warmer": (WARM, WARM),
    "slope": (np.exp(-0.15), np.exp(0.15)),
}
"""By how much light, or red, green and blue, is multiplied at the left and at the right edge, geometric
in between."""

_BATCH = 8


def lit(image: npt.NDArray[np.uint8], light: Light) -> npt.NDArray[np.uint8]:
    """Return a photo, uint8 (H, W, 3), in such a light."""
    left, right = (np.broadcast_to(edge, 3) for edge in light)
    gain = np.geomspace(left, right, image.shape[1])[np.newaxis]
    return np.rint(image * gain).clip(0, 255).astype(np.uint8)


class InLight:
    """A detector whose photos are taken in such a light."""

    def __init__(self, detector: Detector, light: Light) -> None:
        self.detector, self.light = detector, light

    def predict_many(
        self, photos: Iterable[npt.NDArray[np.uint8]], *, batch_size: int = 8, reconstruct: bool = True
    ) -> Iterator[Prediction]:
        """Return what the detector says of the photos in this light."""
        seen = [lit(photo, self.light) for photo in photos]
        return self.detector.predict_many(seen, batch_size=batch_size, reconstruct=reconstruct)


def main() -> None:
    """Print the figures of each light."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("detector", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take one test photo in so many")
    options = parser.parse_args()
    detector = Detector.load(options.detector)
    records = read_dataset(options.data).test[:: options.every]
    for name, light in LIGHTS.items():
        scored = Scored()
        called: dict[bool, list[bool]] = {True: [], False: []}
        lamp = cast(Detector, InLight(detector, light))  # all that is asked of it
        found = predictions(lamp, records, _BATCH, reconstruct=False)
        for sample, verdict in found:
            scored.add(sample.record.label, verdict.score, verdict.map, sample.mask)
            called[sample.record.is_good].append(verdict.anomalous)
        figures = scored.figures()
        row = {key: figures[key] for key in ("image_auroc", "pixel_ap", "pro")}
        shares = {"rejected_good": called[True], "found": called[False]}
        row |= {key: sum(some) / max(1, len(some)) for key, some in shares.items()}
        print(json.dumps({"light": name} | row), flush=True)


if __name__ == "__main__":
    main()
