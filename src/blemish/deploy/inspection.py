"""Inspect many files: one finding each, whatever the files are."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.data import natural_key, read_image, write_png
from blemish.data.listing import is_photo
from blemish.data.pairing import MASK_TREES, without_masks
from blemish.data.pictures import overlay
from blemish.errors import BlemishError, DatasetError
from blemish.records import Prediction
from blemish.runtime import logger
from blemish.verdicts import Detector

STEM = 40
"""Letters kept of a long name: with four bytes each they still make a file name."""

_READERS = 1  # decoding sets the process-wide warning filters, so there is one reader
_AHEAD = 1  # batches read while another is inspected: photos may be large


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known about one file: a verdict, or why there is none."""

    path: Path
    image: npt.NDArray[np.uint8] | None = None
    prediction: Prediction | None = None
    error: BlemishError | None = None

    def line(self) -> dict[str, Any]:
        """Return the finding ready for JSON."""
        if self.prediction is not None:
            return {"image": str(self.path), **self.prediction.summary()}
        assert self.error is not None  # noqa: S101 - one of the two is there
        return {"image": str(self.path), "error": self.error.args[0], "hint": self.error.hint}


def find_photos(paths: Sequence[Path], without: Path | None = None) -> list[Path]:
    """Return the files named, and in folders the photos at any depth, in natural order.

    Hidden files and masks, in folders of their own or beside their photos, are passed over as readers
    of datasets do; links to folders are not followed.
    without: a folder that is left out of those in which it lies, such as that of earlier heat maps.

    Raises:
        DatasetError: a path does not exist or cannot be reached, or a folder holds no photo.
    """
    found: list[Path] = []
    for path in paths:
        try:
            found += _photos_at(path, without)
        except OSError as error:
            raise DatasetError(
                f"{path} cannot be reached: {error.strerror}",
                hint="check the name, and who may look into its folder",
            ) from error
    return found


def _photos_at(path: Path, without: Path | None) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise DatasetError(f"{path} does not exist", hint="check the name")
        return [path]
    inside = list(photos_below(path, _say_what_is_missed, without))
    if not inside:
        raise DatasetError(f"{path} holds no photo", hint="give a folder of photos")
    return sorted(inside, key=lambda p: natural_key(str(p)))


def photos_below(
    folder: Path, miss: Callable[[OSError], None], without: Path | None = None
) -> Iterator[Path]:
    """Yield what has a photo's name at any depth, but for what is hidden or a mask, in no order.

    miss: is told of each folder that cannot be looked into; without: a folder that is left out.
    """
    left_out = None if without is None else _within(folder, without)
    for place, folders, names in os.walk(folder, onerror=miss):
        here = Path(place)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name.lower() not in MASK_TREES and here / name != left_out
        ]
        yield from without_masks(filter(is_photo, (here / name for name in folders + names)))


def _within(folder: Path, other: Path) -> Path | None:
    """Return how a walk through a folder, which follows no links, names another one; None if never."""
    root, target = folder.resolve(), other.resolve()
    return folder / target.relative_to(root) if target.is_relative_to(root) else None


def _say_what_is_missed(error: OSError) -> None:
    logger.warning("%s is passed over: %s", error.filename, error.strerror)


def inspect_files(
    detector: Detector, paths: Iterable[Path], *, batch_size: int = 8, reconstruct: bool = False
) -> Iterator[Finding]:
    """Yield a finding for each file, in order; one that has no verdict does not stop the others."""
    with ThreadPoolExecutor(_READERS) as pool:
        waiting: deque[tuple[Path, Future[npt.NDArray[np.uint8]]]] = deque()
        upcoming = iter(paths)

        def refill() -> None:
            while len(waiting) < _AHEAD * batch_size:
                path = next(upcoming, None)
                if path is None:
                    return
                waiting.append((path, pool.submit(read_image, path)))

        refill()
        while waiting:
            part = [_read(detector, *waiting.popleft()) for _ in range(min(batch_size, len(waiting)))]
            refill()
            photos = [finding.image for finding in part if finding.image is not None]
            verdicts = detector.predict_many(photos, batch_size=batch_size, reconstruct=reconstruct)
            for finding in part:
                if finding.image is None:
                    yield finding
                else:
                    yield Finding(finding.path, finding.image, next(verdicts))


def write_overlay(folder: Path, finding: Finding, name: str) -> Path | None:
    """Write photo and heat map side by side as PNG; return where, None when there is no verdict."""
    if finding.prediction is None or finding.image is None:
        return None
    heat = overlay(finding.image, finding.prediction.map)
    target = folder / f"{name}.png"
    write_png(target, np.concatenate([finding.image, heat], axis=1))
    return target


def _read(detector: Detector, path: Path, reading: Future[npt.NDArray[np.uint8]]) -> Finding:
    try:
        image = reading.result()
        detector.check(image)
    except BlemishError as error:
        return Finding(path, error=error)
    return Finding(path, image)
