"""The inspector as its users know it, whatever computes its maps: photos in, verdicts out."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from blemish.artifacts import read_card
from blemish.data.framing import (
    Frame,
    as_tiled,
    blend_tiles,
    cut_tile,
    letterbox,
    resampled,
    tile_windows,
)
from blemish.data.images import read_image
from blemish.errors import ArtifactError, DependencyError, ImageError
from blemish.records import Prediction
from blemish.verdicts.calibration import Calibration
from blemish.verdicts.scoring import image_score

Photo = str | os.PathLike[str] | npt.NDArray[np.uint8]
Squares = npt.NDArray[np.uint8]
Planes = npt.NDArray[np.float32]

TRAINED, EXPORTED = "inspector", "exported inspector"
_NARROW = 4  # times that a narrow photo fits beside itself into a square
_SQUARES = 1000  # that a narrow photo may need: each takes its full size in memory, and its time
# By name: where an exported one runs, nothing of what trains need be installed.
_LOADERS = {
    TRAINED: ("blemish.detection.trained", "TrainedDetector"),
    EXPORTED: ("blemish.deploy.exported", "ExportedDetector"),
}


class Viewing(Protocol):
    """How photos become squares; the words of `config.DataConfig`."""

    @property
    def size(self) -> int:
        """The square's side, pixels."""

    @property
    def framing(self) -> str:
        """`letterbox`, `strips` or `tiles`."""

    @property
    def overlap(self) -> float:
        """Share of a tile that its neighbour sees too."""


@dataclass(slots=True)
class _Job:
    """A photo on its way through the networks.

    image: the photo. frame: where it lies in its only square, None where tiles cover it. covered:
    height and width of what the tiles cover.
    """

    image: npt.NDArray[np.uint8]
    squares: list[Squares]
    frame: Frame | None = None
    covered: tuple[int, int] = (0, 0)
    maps: list[Planes] = field(default_factory=list)
    pictures: list[Planes] = field(default_factory=list)


class Detector(ABC):
    """A calibrated inspector.

    >>> Detector.load("runs/tiles/detector").predict("photo.jpg").anomalous  # doctest: +SKIP
    False

    view: how photos become squares; precision: the number format of the arithmetic, as the card of
    a saved one names it; runs_on: the device, in words; facts: how it came about; known: SHA-256 of the
    photos that it has learned from or that its threshold was set on, by which it is not to be judged.
    """

    view: Viewing
    precision: str
    runs_on: str
    calibration: Calibration
    facts: dict[str, Any]
    known: frozenset[str] = frozenset()

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto"
    ) -> Detector:
        """Return the detector saved in a folder, ready on the fastest device: trained, or exported.

        precision: `auto` computes in the format that the threshold was set in; another one shifts the
        scores, and the promised rate of false alarms with them.

        Raises:
            ArtifactError: the folder is no detector, is damaged, or was written by a newer version.
            DependencyError: what computes it is not installed.
        """
        folder = Path(folder)
        kind = read_card(folder).get("kind")
        if kind not in _LOADERS:
            raise ArtifactError(
                f"{folder} holds a {kind}, expected an {TRAINED}",
                hint="give the detector folder that `blemish train` or `blemish export` wrote",
            )
        room, name = _LOADERS[kind]
        try:
            reader: type[Detector] = getattr(import_module(room), name)
        except ModuleNotFoundError as error:
            raise DependencyError(
                f"{error.name} is not installed, and {folder} needs it",
                hint="pip install 'blemish[train]', or export the detector where it was trained",
            ) from error
        return reader.load(folder, device=device, precision=precision)

    @property
    def threshold(self) -> float:
        """The raw score from which a photo counts as anomalous."""
        return self.calibration.threshold

    def with_false_alarm_rate(self, rate: float) -> Self:
        """Return this detector with the threshold for another rate of false alarms."""
        return self.calibrated(replace(self.calibration, false_alarm_rate=rate))

    def calibrated(self, calibration: Calibration) -> Self:
        """Return this detector with another calibration; both share the networks."""
        other = copy.copy(self)
        other.calibration = calibration
        return other

    @abstractmethod
    def look(self, squares: Squares, *, reconstruct: bool = True) -> tuple[Planes, Planes | None]:
        """Return what the networks say of squares, uint8 (B, S, S, 3).

        Maps, float32 (B, S, S) in [0, 1]; reconstructions, float32 (B, S, S, 3) in [0, 1], None where
        not asked for. No square sees its neighbours.
        """

    def squares(self, photo: Photo) -> list[Squares]:
        """Return a photo as the networks see it: squares, uint8 (S, S, 3) each.

        Raises:
            ImageError: as in `predict`.
        """
        return self._prepare(photo).squares

    def predict(self, photo: Photo) -> Prediction:
        """Return the verdict on one photo: a path, or uint8 RGB (H, W, 3).

        Raises:
            ImageError: the photo cannot be read, or does not pass `check`.
        """
        return next(self.predict_many([photo]))

    def predict_many(
        self, photos: Iterable[Photo], *, batch_size: int = 8, reconstruct: bool = True
    ) -> Iterator[Prediction]:
        """Yield the verdicts on photos, in order; `reconstruct=False` leaves the pictures out.

        The verdict on a photo does not depend on its neighbours in the batch.

        Raises:
            ImageError: a photo cannot be read, or does not pass `check`.
        """
        waiting: deque[_Job] = deque()
        queue: deque[tuple[_Job, Squares]] = deque()
        for photo in photos:
            job = self._prepare(photo)
            waiting.append(job)
            queue.extend((job, square) for square in job.squares)
            while len(queue) >= batch_size:
                self._run([queue.popleft() for _ in range(batch_size)], reconstruct)
            while waiting and len(waiting[0].maps) == len(waiting[0].squares):
                yield self._verdict(waiting.popleft())
        while queue:
            part = [queue.popleft() for _ in range(min(batch_size, len(queue)))]
            self._run(part, reconstruct)
        while waiting:
            yield self._verdict(waiting.popleft())

    def check(self, image: npt.NDArray[np.uint8]) -> None:
        """Return where a photo can be inspected.

        Raises:
            ImageError: it is not uint8 RGB (H, W, 3), or is so narrow that it needs too many squares.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ImageError(
                f"expected a photo as uint8 (H, W, 3), got {image.dtype} {image.shape}",
                hint="pass a file name, or convert the array to 8-bit RGB",
            )
        height, width = image.shape[:2]
        if self.view.framing != "letterbox" and _NARROW * min(height, width) < self.view.size:
            squares = len(tiles(height, width, self.view))
            if squares > _SQUARES:
                raise ImageError(
                    f"a photo of {width}x{height} (width x height) needs {squares} squares, and one "
                    f"narrower than {self.view.size / _NARROW:g} pixels may need {_SQUARES}",
                    hint="cut it into shorter photos",
                )

    def _prepare(self, photo: Photo) -> _Job:
        image = photo if isinstance(photo, np.ndarray) else read_image(Path(photo))
        self.check(image)
        size = self.view.size
        if self.view.framing == "letterbox":
            square, frame = letterbox(image, size)
            return _Job(image, [square], frame)
        shown = as_tiled(image, self.view.framing, size)
        covered = (shown.shape[0], shown.shape[1])
        squares = [cut_tile(shown, window, size) for window in tiles(*covered, self.view)]
        return _Job(image, squares, covered=covered)

    def _run(self, part: list[tuple[_Job, Squares]], reconstruct: bool) -> None:
        """Look at a batch of squares and hand the results to their photos."""
        maps, pictures = self.look(np.stack([square for _, square in part]), reconstruct=reconstruct)
        for index, (job, _) in enumerate(part):
            job.maps.append(maps[index])
            if pictures is not None:
                job.pictures.append(pictures[index])

    def _verdict(self, job: _Job) -> Prediction:
        seen = self._joined(job, job.maps)
        valid = np.ones(seen.shape, np.bool_) if job.frame is None else job.frame.valid()
        score = image_score(seen, valid, self.view.size)
        whole = _on_photo(job, seen)
        picture = None
        if job.pictures:
            channels = ([p[..., c] for p in job.pictures] for c in range(3))
            planes = [_on_photo(job, self._joined(job, channel)) for channel in channels]
            picture = np.rint(np.stack(planes, axis=2) * 255).clip(0, 255).astype(np.uint8)
        p_value = self.calibration.p_value(score)
        return Prediction(score, self.threshold, p_value, whole, picture)

    def _joined(self, job: _Job, planes: list[Planes]) -> Planes:
        """Return planes of a photo's squares as one plane on all that they cover."""
        if job.frame is not None:
            return planes[0]
        return blend_tiles(planes, tiles(*job.covered, self.view), *job.covered)


def _on_photo(job: _Job, plane: Planes) -> Planes:
    """Return a plane on what the squares cover as one on the photo itself."""
    height, width = job.image.shape[:2]
    if job.frame is not None:
        return job.frame.restore(plane)
    return plane if job.covered == (height, width) else resampled(plane, height, width)


def tiles(height: int, width: int, view: Viewing) -> list[tuple[int, int]]:
    """Return the corners of the overlapping tiles that cover what is of this size."""
    return tile_windows(height, width, view.size, round(view.overlap * view.size))
