"""How good a detector is on photos that it has not seen: figures, cases, report."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from blemish.data import Dataset, claimed_pixels, read_sample, shrink_mask
from blemish.data.pictures import thumbnail
from blemish.errors import DatasetError, DependencyError
from blemish.experiments.report import LONGEST_SIDE, METRICS, Case, EvaluationReport
from blemish.metrics.scored import Scored
from blemish.networks.kinship import families
from blemish.records import GOOD, Prediction, Record, Sample
from blemish.runtime import file_sha256, logger
from blemish.verdicts import Detector
from blemish.version import __version__

_TEST_PHOTOS = {
    "mvtec": "put good ones in test/good/ and defective ones in test/<type>/",
    "folder": "put good ones in good/ and defective ones in <type>/ beside it: a fifth of the good "
    "ones is then for judging, less those that the detector has learned from",
    "manifest": 'write "split": "test" in the lines of those to judge by',
}

_MANY_PIXELS = 200_000_000
_BYTES_A_PIXEL = 8  # `metrics.PixelScores` of a good one, while it evaluates


def evaluate(
    detector: Detector, dataset: Dataset, *, command: str = "", batch_size: int = 8
) -> tuple[dict[str, Any], EvaluationReport]:
    """Return the figures (ready for JSON) and the report of a detector on a dataset's test photos.

    Good photos that the detector knows are left out, and the report says so: they tell nothing of new
    ones. That defects were learned from is said, and that good photos of a plain folder show parts that
    it knows from other photos.

    Raises:
        DatasetError: there are no test photos.
    """
    refuse_untested(dataset)
    records, warnings = _strangers(detector, dataset.test)
    warnings += _warnings_of_kin(detector, dataset, records)
    marked = any(record.mask is not None for record in records)
    if marked:
        _warn_of_memory(records)
    cases: list[Case] = []
    scored, unmarked = Scored(), 0
    for sample, prediction in predictions(detector, records, batch_size):
        unmarked += sample.mask is None
        # Without any mask no pixel figure is defined, and the maps need not be kept.
        mask = sample.mask if marked else None
        scored.add(sample.record.label, prediction.score, prediction.map, mask)
        cases.append(_case(dataset.root, sample, prediction))
    overall, types = scored.figures(), [t for t in dataset.defect_types if t in scored.images]
    by_type = {label: scored.figures([label]) for label in types}
    interval = scored.interval()
    warnings += [w for w in [detector.calibration.warning()] if w]
    if unmarked:
        warnings.append(f"{unmarked} defect photos have no mask: pixel figures leave them out")
    good, bad = [c for c in cases if c.label == GOOD], [c for c in cases if c.label != GOOD]
    figures = {
        "metrics": overall,
        "image_auroc_interval": interval,
        "per_type": by_type,
        "threshold": detector.threshold,
        "target_false_alarm_rate": detector.calibration.false_alarm_rate,
        "false_alarm_rate": _share(good),
        "detection_rate": _share(bad),
        "photos": {label: len(values) for label, values in scored.images.items()},
        "detector": detector.facts,
    }
    report = EvaluationReport(
        title=f"{dataset.root.resolve().name}: evaluation",
        metrics={name: value for name, value in overall.items() if name in METRICS},
        per_type=by_type,
        threshold=detector.threshold,
        target_false_alarm_rate=detector.calibration.false_alarm_rate,
        false_alarm_rate=_share(good),
        detection_rate=_share(bad),
        calibration=detector.calibration,
        cases=cases,
        facts=_facts(detector, command),
        warnings=warnings,
        intervals={"image_auroc": interval} if interval else {},
    )
    return figures, report


def _strangers(detector: Detector, records: Sequence[Record]) -> tuple[tuple[Record, ...], list[str]]:
    """Return the photos to judge a detector by, and what a reader must be told about the others."""
    seen = _known(detector, records)
    good = sum(record.is_good for record in seen)
    warnings = []
    if good:
        warnings.append(
            f"{good} good test photos were learned from, or set this detector's threshold: they are "
            "left out"
        )
    if len(seen) > good:
        warnings.append(
            f"{len(seen) - good} test photos of defects were learned from, or defects were painted of "
            "them: the figures look better than they are"
        )
    for warning in warnings:
        logger.warning("%s", warning)
    return tuple(r for r in records if not (r.is_good and r in seen)), warnings


def _known(detector: Detector, records: Sequence[Record]) -> set[Record]:
    """Return the photos that a detector has learned from, or that set its threshold."""
    if not detector.known:
        return set()
    return {record for record in records if file_sha256(record.image) in detector.known}


def _warnings_of_kin(detector: Detector, dataset: Dataset, judged: Sequence[Record]) -> list[str]:
    """Return what a reader must be told of good test photos whose part the detector knows.

    Of a plain folder, of whose good photos a fifth is for judging, whatever part each shows; and where
    the encoder that sees what is alike is installed.
    """
    if dataset.layout != "folder" or not detector.known:
        return []
    tested = [record for record in judged if record.is_good]
    seen, asked = _known(detector, dataset.train), set(judged)
    learned = [r for r in dataset.train if r in seen] + [r for r in dataset.test if r not in asked]
    try:
        numbers = families([*learned, *tested], detector.view.size)
    except DependencyError:
        return []
    parts = set(numbers[: len(learned)])
    kin = sum(number in parts for number in numbers[len(learned) :])
    if not kin:
        return []
    warning = (
        f"{kin} of {len(tested)} good test photos seem to show a part that the detector knows from "
        "another photo: false alarms and image AUROC look better than they will on new parts. Sort the "
        "good photos by part into train/good/ and test/good/ (an MVTec tree), and train again"
    )
    logger.warning("%s", warning)
    return [warning]


def _warn_of_memory(records: Sequence[Record]) -> None:
    """Say what the pixel figures of these photos take where that is much, and what takes less."""
    counted = [record for record in records if record.is_good or record.mask is not None]
    pixels = sum(claimed_pixels(record.image) for record in counted)
    if pixels > _MANY_PIXELS:
        logger.warning(
            "%d photos have %.0f million pixels in all: their pixel figures take about %.0f GB of "
            "memory; --masks none leaves these out, a manifest.jsonl of fewer photos takes less",
            len(counted),
            pixels / 1e6,
            pixels * _BYTES_A_PIXEL / 1e9,
        )


def refuse_untested(dataset: Dataset) -> None:
    """Stop where there is nothing to judge a detector by.

    Raises:
        DatasetError: there are no test photos.
    """
    if not dataset.test:
        raise DatasetError(f"{dataset.root} has no test photos", hint=_TEST_PHOTOS[dataset.layout])


def predictions(
    detector: Detector,
    records: Sequence[Record],
    batch_size: int,
    *,
    reconstruct: bool = True,
    spent: Callable[[float], None] | None = None,
) -> Iterator[tuple[Sample, Prediction]]:
    """Yield each photo, read once, with its verdict; `reconstruct=False` leaves the pictures out.

    spent: told the seconds that the detector took for each batch, reading not included.
    """
    for start in tqdm(range(0, len(records), batch_size), unit="batch", disable=None):
        samples = [read_sample(record) for record in records[start : start + batch_size]]
        images = [sample.image for sample in samples]
        begun = time.perf_counter()
        found = detector.predict_many(images, batch_size=batch_size, reconstruct=reconstruct)
        verdicts = list(found)  # it computes as it is read
        if spent is not None:
            spent(time.perf_counter() - begun)
        yield from zip(samples, verdicts, strict=True)


def _case(root: Path, sample: Sample, prediction: Prediction) -> Case:
    """Return what the report shows of one photo: thumbnails, not the photo."""
    assert prediction.reconstruction is not None  # noqa: S101 - asked for above
    photo = thumbnail(sample.image, LONGEST_SIDE)
    height, width = photo.shape[:2]
    heat = Image.fromarray(prediction.map).resize((width, height), Image.Resampling.BOX)
    return Case(
        name=sample.record.image.relative_to(root).as_posix(),
        label=sample.record.label,
        score=prediction.score,
        p_value=prediction.p_value,
        anomalous=prediction.anomalous,
        photo=photo,
        reconstruction=thumbnail(prediction.reconstruction, LONGEST_SIDE),
        heat=np.asarray(heat),
        mask=None if sample.mask is None else shrink_mask(sample.mask, height, width),
    )


def _share(cases: Sequence[Case]) -> float | None:
    """Return the share of the photos that were rejected, None when there are none."""
    return sum(case.anomalous for case in cases) / len(cases) if cases else None


def _facts(detector: Detector, command: str) -> dict[str, str]:
    """Return what it takes to repeat the evaluation, in words."""
    facts = {name.replace("_", " "): str(value) for name, value in detector.facts.items()}
    facts |= {
        "device": detector.runs_on,
        "precision": detector.precision,
        "resolution": "pixel figures at each photo's own resolution",
        "evaluated with": f"blemish {__version__}, torch {torch.__version__}, "
        f"python {platform.python_version()}",
    }
    return facts | ({"command": command} if command else {})
