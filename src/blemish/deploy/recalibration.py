"""The threshold set anew: for another lamp, lens, supplier or season, without training again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blemish import artifacts
from blemish.deploy.inspection import inspect_files
from blemish.errors import ArtifactError, DatasetError
from blemish.runtime import file_sha256, logger
from blemish.verdicts import Calibration, Detector


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """What came of it. left_out: photos that it knew, copies, and files that could not be read."""

    calibration: Calibration
    left_out: int


def recalibrate(
    folder: Path,
    photos: Iterable[Path],
    out: Path,
    *,
    rate: float | None = None,
    batch_size: int = 8,
    device: str = "auto",
    precision: str = "auto",
) -> Recalibrated:
    """Write a detector, trained or exported, again with the threshold that good photos set.

    Photos that the detector has learned from, or that its threshold was set on, look better to it than
    new ones will: they are left out, as are copies. The new one knows the photos too, so that it is not
    judged by them. folder: of the detector; rate: of false alarms, the detector's own by default; out:
    a new folder, which appears whole.

    Raises:
        ArtifactError: there is something at `out`, it lies in the detector's own folder, or that is no
            detector.
        DatasetError: no photo is left.
    """
    artifacts.refuse_existing(out)
    if out.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{out} lies in the detector's own folder", hint="choose another place")
    detector = Detector.load(folder, device=device, precision=precision)
    paths = list(photos)
    fresh = _unknown(paths, detector.known)
    scores: dict[str, float] = {}
    findings = inspect_files(detector, fresh.values(), batch_size=batch_size)
    for digest, found in zip(fresh, findings, strict=True):
        if found.prediction is None:
            logger.warning("%s is left out: %s", found.path, found.error)
        else:
            scores[digest] = found.prediction.score
    if not scores:
        raise DatasetError(
            "no photo is left to set the threshold on",
            hint="give photos of good parts, taken after those that the detector was trained on",
        )
    rate = detector.calibration.false_alarm_rate if rate is None else rate
    calibration = Calibration.of(list(scores.values()), rate)
    card = artifacts.read_card(folder)
    card["calibration"] = calibration.summary() | {"precision": detector.precision}
    card["known"] = sorted(detector.known | set(scores))

    def fill(place: Path) -> None:
        shutil.copytree(folder, place, dirs_exist_ok=True)
        artifacts.write_card(place, card)

    artifacts.create_folder(out, fill)
    return Recalibrated(calibration, len(paths) - len(scores))


def _unknown(paths: Sequence[Path], known: frozenset[str]) -> dict[str, Path]:
    """Return the photos that are not known, by their SHA-256, each once."""
    found: dict[str, Path] = {}
    for path in paths:
        try:
            digest = file_sha256(path)
        except OSError as error:
            logger.warning("%s is left out: %s", path, error.strerror)
            continue
        if digest in known:
            logger.warning("%s is left out: the detector has learned from it", path)
        elif digest in found:
            logger.warning("%s is left out: it is %s again", path, found[digest])
        else:
            found[digest] = path
    return found
