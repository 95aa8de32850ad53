"""Other people's detectors join by a folder of score maps, which are judged as ours are.

    maps/<label>/<stem>.npy   (H, W) at the photo's own resolution, higher = more anomalous
    scores.jsonl              optional: image (relative to the dataset) and score, a line for each photo
    peer.json                 optional: what it cost, as `blemish.experiments.peers` writes it

Without scores.jsonl, the score of a photo is the maximum of its map.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.data import read_sample
from blemish.errors import ArtifactError, DatasetError, ImageError
from blemish.metrics.scored import Scored
from blemish.records import Record

SCORES, PEER = "scores.jsonl", "peer.json"


def scored_maps(records: Sequence[Record], folder: Path, root: Path) -> Scored:
    """Return the scores of a folder of maps, one for each photo, against the photos' masks.

    root: of the dataset; the names in scores.jsonl are relative to it.

    Raises:
        DatasetError: there are no photos, a defect has no mask, or two photos share a map.
        ArtifactError: a map or a score is missing, unreadable, or of another shape than its photo.
        ImageError: a photo or mask cannot be read, or a map has a score that is not finite.
    """
    refuse_shared_maps(records)
    given = _image_scores(folder / SCORES)
    scored = Scored()
    for record in records:
        mask = read_sample(record).mask
        if mask is None:
            raise DatasetError(
                f"{record.image} has no mask: its pixels cannot be judged",
                hint="draw it, or move photos without a defect to test/good",
            )
        path = map_path(folder, record)
        values = _read_map(path, mask.shape)
        name = record.image.relative_to(root).as_posix()
        if given is not None and name not in given:
            raise ArtifactError(
                f"{folder / SCORES} has no score of {name}",
                hint="score every test photo, or delete the file to use the maps' maxima",
            )
        score = float(values.max()) if given is None else given[name]
        try:
            scored.add(record.label, score, values, mask)
        except ImageError as error:
            raise ImageError(f"{path}: {error.args[0]}", hint=error.hint) from error
    return scored


def costs(folder: Path) -> dict[str, float | None]:
    """Return what a detector cost, by the keys of `DetectorCell`'s costs; {} where that is not told.

    Raises:
        ArtifactError: it is told in another form.
    """
    path = folder / PEER
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return {
            "train_minutes": facts["train_minutes"],
            "photos_per_second": facts["photos_per_second"]["network"],
            "memory_mib": facts["peak_memory_mib"]["process"],
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} does not tell what the detector cost: {error!r}",
            hint="delete it: only the columns of costs are made from it",
        ) from error


def map_path(folder: Path, record: Record) -> Path:
    """Return where the map of a photo lies."""
    return folder / "maps" / record.label / f"{record.image.stem}.npy"


def refuse_shared_maps(records: Sequence[Record]) -> None:
    """Stop where two photos have the same map, or where there are none.

    Raises:
        DatasetError: as said.
    """
    if not records:
        raise DatasetError(
            "there are no test photos to score",
            hint="put good ones in test/good and defective ones in test/<type>",
        )
    owners: dict[Path, Record] = {}
    for record in records:
        other = owners.setdefault(map_path(Path(), record), record)
        if other is not record:
            raise DatasetError(
                f"{other.image} and {record.image} share a label and a stem",
                hint="give each photo a name of its own: the map is found by it",
            )


def _read_map(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return a score map, float32 (H, W), of its photo's shape."""
    try:
        values = np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise ArtifactError(
            f"{path} cannot be read: {error}",
            hint="save a map for every test photo with numpy.save",
        ) from error
    if values.shape != shape:
        raise ArtifactError(
            f"{path}: expected a map of its photo's shape {shape}, got {values.shape}",
            hint="resize the map to the photo's resolution before saving it",
        )
    return values


def _image_scores(path: Path) -> dict[str, float] | None:
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
