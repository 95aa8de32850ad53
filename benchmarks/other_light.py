"""Judge a detector on its test photos in other light: darker, brighter, with a slope of light.

    python benchmarks/other_light.py DETECTOR DATA [--every 3]

Prints one JSON line a light: image AUROC, pixel AP, PRO, and the shares of photos called anomalous.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish import Detector
from blemish.data import read_dataset, read_sample
from blemish.metrics.scored import Scored

LIGHTS = {"as it is": (1.0, 1.0), "darker": (0.85, 0.85), "brighter": (1.15, 1.15)}
LIGHTS["slope"] = (float(np.exp(-0.15)), float(np.exp(0.15)))
"""By how much the light is multiplied at the left and at the right edge, geometric in between."""

_BATCH = 8


def lit(image: npt.NDArray[np.uint8], left: float, right: float) -> npt.NDArray[np.uint8]:
    """Return a photo, uint8 (H, W, 3), in such a light."""
    gain = np.geomspace(left, right, image.shape[1])[None, :, None]
    return np.rint(image * gain).clip(0, 255).astype(np.uint8)


def main() -> None:
    """Print the figures of each light."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("detector", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take one test photo in so many")
    options = parser.parse_args()
    detector = Detector.load(options.detector)
    records = read_dataset(options.data).test[:: options.every]
    for name, (left, right) in LIGHTS.items():
        scored, called = Scored(), {True: [0, 0], False: [0, 0]}
        for start in range(0, len(records), _BATCH):
            samples = [read_sample(record) for record in records[start : start + _BATCH]]
            photos = [lit(sample.image, left, right) for sample in samples]
            found = detector.predict_many(photos, batch_size=_BATCH, reconstruct=False)
            for sample, verdict in zip(samples, found, strict=True):
                scored.add(sample.record.label, verdict.score, verdict.map, sample.mask)
                counts = called[sample.record.is_good]
                counts[0] += bool(verdict.anomalous)
                counts[1] += 1
        figures = scored.figures()
        row = {key: figures[key] for key in ("image_auroc", "pixel_ap", "pro")}
        shares = {"rejected_good": called[True], "found": called[False]}
        row |= {key: hits / max(1, count) for key, (hits, count) in shares.items()}
        print(json.dumps({"light": name} | row), flush=True)


if __name__ == "__main__":
    main()
