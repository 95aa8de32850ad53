"""Score a dataset by what a detector's reconstruction gets wrong, without its segmenter: a baseline.

    python benchmarks/reconstruction_error.py DETECTOR DATA OUT

Writes OUT/maps/<type>/<stem>.npy and OUT/scores.jsonl for `score_maps.py`: the mean absolute difference
of photo and reconstruction over the channels, smoothed with a Gaussian of 4 pixels per 256; the image
score is the mean of the K largest pixels, as the detector's own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

from blemish import Detector, read_dataset
from blemish.data import read_image
from blemish.verdicts import image_score


def main() -> None:
    """Write one map a test photo."""
    detector_folder, data, out = (Path(argument) for argument in sys.argv[1:4])
    detector, dataset = Detector.load(detector_folder), read_dataset(data)
    lines = []
    for record in dataset.test:
        photo = read_image(record.image)
        reconstruction = detector.predict(photo).reconstruction
        assert reconstruction is not None
        error = np.abs(photo.astype(np.float32) - reconstruction).mean(axis=2) / 255
        smooth = ndimage.gaussian_filter(error, 4 * max(error.shape) / 256)
        path = out / "maps" / record.label / f"{record.image.stem}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, smooth)
        score = image_score(smooth, np.ones(smooth.shape, np.bool_), max(smooth.shape))
        name = record.image.relative_to(data).as_posix()
        lines.append(json.dumps({"image": name, "label": record.label, "score": score}))
    (out / "scores.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
