"""Score any detector's maps against the masks of an MVTec tree; print the metrics as JSON.

    python benchmarks/score_maps.py DATA OUT

OUT/maps/<type>/<stem>.npy: (H, W) at the photo's own resolution, higher = more anomalous, one for
every photo of DATA/test. OUT/scores.jsonl, optional: image (relative to DATA) and score, for every
test photo; without it the image score is the map's maximum. A mask is defect where it is above 0.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from blemish import metrics
from blemish.errors import ArtifactError, BlemishError, DatasetError
from blemish.records import GOOD

EXTENSIONS = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def evaluate(data: Path, out: Path) -> dict[str, object]:
    """Return the metrics of a folder of score maps, each in [0, 1]; None where undefined.

    Raises:
        DatasetError: a photo has no mask, or two share a map.
        ArtifactError: a map or a score is missing, unreadable, or of another shape than its photo.
        ImageError: a map has a score that is not finite.
    """
    photos = test_photos(data)
    given = image_scores(out / "scores.jsonl")
    pixels = metrics.PixelScores()
    scores, labels = [], []
    for photo in photos:
        mask = truth(data, photo)
        scored = score_map(out / "maps" / photo.parent.name / f"{photo.stem}.npy", mask.shape)
        pixels.add(scored, mask)
        name = photo.relative_to(data).as_posix()
        if given is not None and name not in given:
            raise ArtifactError(
                f"{out / 'scores.jsonl'} has no score of {name}",
                hint="score every test photo, or delete the file to use the maps' maxima",
            )
        scores.append(float(scored.max()) if given is None else given[name])
        labels.append(photo.parent.name != GOOD)
    numbers = {
        "image_auroc": metrics.auroc(scores, labels),
        "image_ap": metrics.average_precision(scores, labels),
        "image_f1_max": metrics.f1_max(scores, labels).value,
        "pixel_auroc": pixels.auroc(),
        "pixel_ap": pixels.average_precision(),
        "pixel_f1_max": pixels.f1_max().value,
        "pro": pixels.pro(),
    }
    return {
        **{name: None if math.isnan(value) else value for name, value in numbers.items()},
        "good": len(labels) - sum(labels),
        "defective": sum(labels),
        "image_score": "maximum of the map" if given is None else "scores.jsonl",
    }


def test_photos(data: Path) -> list[Path]:
    """Return the photos of test/<type>/, in order of their names."""
    photos = sorted(p for p in data.glob("test/*/*") if p.suffix.lower() in EXTENSIONS)
    if not photos:
        raise DatasetError(
            f"{data} has no photo in test/<type>/", hint="give the root of an MVTec tree"
        )
    if len({(p.parent.name, p.stem) for p in photos}) < len(photos):
        raise DatasetError(
            f"two photos of one type in {data / 'test'} share a stem",
            hint="give each photo a name of its own: the map is found by it",
        )
    return photos


def truth(data: Path, photo: Path) -> npt.NDArray[np.bool_]:
    """Return the mask of a photo, bool (H, W); all False for a good one."""
    if photo.parent.name == GOOD:
        with Image.open(photo) as image:
            return np.zeros((image.height, image.width), dtype=bool)
    path = data / "ground_truth" / photo.parent.name / f"{photo.stem}_mask.png"
    if not path.is_file():
        raise DatasetError(
            f"{photo} has no mask: expected {path}",
            hint="draw it, or move photos without a defect to test/good",
        )
    with Image.open(path) as image:
        values = np.asarray(image)
    # A colour mask counts where any of its channels does; transparency is no defect.
    drawn: npt.NDArray[np.bool_] = values.reshape(*values.shape[:2], -1)[..., :3] > 0
    return np.asarray(drawn.any(axis=-1))


def score_map(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return a score map, float32 (H, W), of its photo's shape."""
    try:
        scores: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} cannot be read: {error}",
            hint="save a map for every test photo with numpy.save",
        ) from error
    if scores.shape != shape:
        raise ArtifactError(
            f"{path}: expected a map of its photo's shape {shape}, got {scores.shape}",
            hint="resize the map to the photo's resolution before saving it",
        )
    return scores.astype(np.float32, copy=False)


def image_scores(path: Path) -> dict[str, float] | None:
    """Return the score of each image by its relative path; None if there is no such file."""
    if not path.is_file():
        return None
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        return {line["image"]: float(line["score"]) for line in lines}
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is not a list of scores: {error!r}",
            hint='write {"image": "test/good/1.png", "score": 0.5} on each line',
        ) from error


def main() -> int:
    """Print the metrics; return the exit code, 2 for what a user can cause."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="MVTec tree: test/<type>, ground_truth/<type>")
    parser.add_argument("out", type=Path, help="folder with maps/ and perhaps scores.jsonl")
    args = parser.parse_args()
    try:
        print(json.dumps(evaluate(args.data, args.out), indent=2, allow_nan=False))
    except BlemishError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
