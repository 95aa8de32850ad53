"""The threshold set anew: for another lamp, lens, supplier or season, without training again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish import artifacts
from blemish.data import letterbox
from blemish.deploy.inspection import inspect_files
from blemish.errors import ArtifactError, DatasetError, DependencyError
from blemish.runtime import file_sha256, logger
from blemish.verdicts import Calibration, Detector

_Square = npt.NDArray[np.uint8]


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
    judged by them. Photos of one part count as one, where PyTorch and the encoder are installed, which
    tell; elsewhere each counts as a part, and that is said. folder: of the detector; rate: of false
    alarms, the detector's own by default; out: a new folder, which appears whole.

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
    related = _comparer(len(fresh))
    scores: dict[str, float] = {}
    squares: list[_Square] = []
    findings = inspect_files(detector, fresh.values(), batch_size=batch_size)
    for digest, found in zip(fresh, findings, strict=True):
        if found.prediction is None or found.image is None:
            logger.warning("%s is left out: %s", found.path, found.error)
        else:
            scores[digest] = found.prediction.score
            if related is not None:
                squares.append(letterbox(found.image, detector.view.size)[0])
    if not scores:
        raise DatasetError(
            "no photo is left to set the threshold on",
            hint="give photos of good parts, taken after those that the detector was trained on",
        )
    rate = detector.calibration.false_alarm_rate if rate is None else rate
    families = None if related is None else related(squares)
    calibration = Calibration.of(list(scores.values()), rate, families)
    card = artifacts.read_card(folder)
    card["calibration"] = calibration.summary() | {"precision": detector.precision}
    card["known"] = sorted(detector.known | set(scores))

    def fill(place: Path) -> None:
        # Contents alone: the rights of a folder that may not be written would come along.
        for file in folder.rglob("*"):
            if file.is_file():
                copy = place / file.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        artifacts.write_card(place, card)

    artifacts.create_folder(out, fill)
    return Recalibrated(calibration, len(paths) - len(scores))


def _comparer(count: int) -> Callable[[Sequence[_Square]], list[int]] | None:
    """Return what tells which of so many photos show one part; None, and say so, where nothing can."""
    try:
        # Needs PyTorch and the encoder's weights, which an edge machine does not have.
        from blemish.networks.encoder import weights_path
        from blemish.networks.kinship import MOST, related

        weights_path()
        if count <= MOST:
            return related
        why = f"more than {MOST} photos are not compared"
    except (ImportError, DependencyError):
        why = "PyTorch and the encoder, which tell the parts apart, are not installed here"
    logger.warning(
        "each photo counts as another part: %s; where several show one part, give one of them, "
        "or the threshold promises too much",
        why,
    )
    return None


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
