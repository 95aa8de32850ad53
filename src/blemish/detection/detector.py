"""The trained inspector: load it, show it photos, get verdicts."""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from blemish import artifacts, config, runtime
from blemish.config import InspectorConfig
from blemish.data import Frame, blend_tiles, cut_tile, letterbox, read_image
from blemish.detection.calibration import Calibration
from blemish.detection.inspector import Inspector
from blemish.detection.photos import tiles
from blemish.detection.scoring import NoiseField, image_score
from blemish.errors import ArtifactError, ImageError
from blemish.records import Prediction

Photo = str | os.PathLike[str] | npt.NDArray[np.uint8]
KIND = "inspector"


@dataclass(slots=True)
class _Job:
    """A photo on its way through the networks."""

    image: npt.NDArray[np.uint8]
    squares: list[npt.NDArray[np.uint8]]
    frame: Frame | None
    maps: list[npt.NDArray[np.float32]] = field(default_factory=list)
    pictures: list[npt.NDArray[np.float32]] = field(default_factory=list)


class Detector:
    """A calibrated inspector.

    >>> Detector.load("runs/tiles/detector").predict("photo.jpg").anomalous  # doctest: +SKIP
    False
    """

    def __init__(
        self,
        settings: InspectorConfig,
        weights: Mapping[str, Tensor],
        calibration: Calibration,
        facts: Mapping[str, Any] | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.config = settings
        self.calibration = calibration
        self.facts = dict(facts or {})
        self.device = runtime.device(device)
        self.dtype = runtime.precision(precision, self.device)
        self._inspector = Inspector(settings)
        self._inspector.load_state_dict(dict(weights))
        self._inspector.to(self.device).to(memory_format=torch.channels_last).eval()
        self._field = NoiseField(settings.data.size)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto"
    ) -> Detector:
        """Return the detector saved in a folder, ready on the fastest device.

        precision: `auto` computes in the format that the threshold was set in; another one shifts the
        scores, and the promised rate of false alarms with them.

        Raises:
            ArtifactError: the folder is no detector, is damaged, or was written by a newer version.
        """
        folder = Path(folder)
        hint = "give the detector folder that `blemish train` wrote"
        tensors, card = artifacts.load_kind(folder, KIND, "an", hint)
        # Saved before there was a trust: what was learned counted once.
        tensors.setdefault("trust", torch.ones(()))
        try:
            told, facts, settings = card["calibration"], card["facts"], config.parse(card["config"])
            calibration = Calibration.of(told["scores"], told["false_alarm_rate"])
            calibrated = told["precision"]
            chosen = calibrated if precision == "auto" else precision
            if chosen != calibrated:
                runtime.logger.warning(
                    "the threshold was set in %s, scores in %s differ a little", calibrated, chosen
                )
            return cls(settings, tensors, calibration, facts, device=device, precision=chosen)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"{folder} does not fit its own card: {error}") from error

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the detector to a folder, atomically: weights, settings, calibration and facts."""
        card = {
            "kind": KIND,
            "config": self.config.model_dump(mode="json"),
            "calibration": {
                "false_alarm_rate": self.calibration.false_alarm_rate,
                "threshold": self.threshold,
                "precision": self.precision,
                "scores": list(self.calibration.scores),
            },
            "facts": self.facts,
        }
        artifacts.save_artifact(Path(folder), self._inspector.state_dict(), card)

    @property
    def threshold(self) -> float:
        """The raw score from which a photo counts as anomalous."""
        return self.calibration.threshold

    @property
    def precision(self) -> str:
        """The number format of the networks' arithmetic, `bf16` or `fp32`."""
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    def with_false_alarm_rate(self, rate: float) -> Detector:
        """Return this detector with the threshold for another rate of false alarms."""
        return self.calibrated(self.calibration.scores, rate)

    def calibrated(self, scores: Sequence[float], rate: float) -> Detector:
        """Return this detector with the threshold that these scores of good photos set.

        The networks are shared: nothing changes them.
        """
        other = copy.copy(self)
        other.calibration = Calibration.of(scores, rate)
        return other

    def predict(self, photo: Photo) -> Prediction:
        """Return the verdict on one photo: a path, or uint8 RGB (H, W, 3).

        Raises:
            ImageError: the photo cannot be read or is not uint8 RGB.
        """
        return next(self.predict_many([photo]))

    def predict_many(
        self, photos: Iterable[Photo], *, batch_size: int = 8, reconstruct: bool = True
    ) -> Iterator[Prediction]:
        """Yield the verdicts on photos, in order; `reconstruct=False` leaves the pictures out.

        The verdict on a photo does not depend on its neighbours in the batch.

        Raises:
            ImageError: a photo cannot be read or is not uint8 RGB.
        """
        waiting: deque[_Job] = deque()
        queue: deque[tuple[_Job, npt.NDArray[np.uint8]]] = deque()
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

    def _prepare(self, photo: Photo) -> _Job:
        image = photo if isinstance(photo, np.ndarray) else read_image(Path(photo))
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ImageError(
                f"expected a photo as uint8 (H, W, 3), got {image.dtype} {image.shape}",
                hint="pass a file name, or convert the array to 8-bit RGB",
            )
        data = self.config.data
        if data.framing == "letterbox":
            square, frame = letterbox(image, data.size)
            return _Job(image, [square], frame)
        windows = tiles(image.shape[0], image.shape[1], data)
        return _Job(image, [cut_tile(image, window, data.size) for window in windows], None)

    def _run(self, part: list[tuple[_Job, npt.NDArray[np.uint8]]], reconstruct: bool) -> None:
        """Run both networks on a batch of squares and hand the results to their photos."""
        squares = np.stack([square for _, square in part])
        noise = torch.stack([self._field.windows(square) for square in squares])
        photo = torch.from_numpy(squares).to(self.device)
        with torch.inference_mode(), runtime.autocast(self.device, self.dtype):
            logits, picture = self._inspector(photo, noise.to(self.device))
        maps = logits.float().sigmoid()[:, 0].cpu().numpy()
        pictures = picture.float().permute(0, 2, 3, 1).cpu().numpy() if reconstruct else None
        for index, (job, _) in enumerate(part):
            job.maps.append(maps[index])
            if pictures is not None:
                job.pictures.append(pictures[index])

    def _verdict(self, job: _Job) -> Prediction:
        height, width = job.image.shape[:2]
        if job.frame is not None:
            score = image_score(job.maps[0], job.frame.valid())
        whole = self._assembled(job, job.maps)
        if job.frame is None:
            score = image_score(whole, np.ones((height, width), np.bool_))
        picture = None
        if job.pictures:
            planes = [self._assembled(job, [p[..., c] for p in job.pictures]) for c in range(3)]
            picture = np.rint(np.stack(planes, axis=2) * 255).clip(0, 255).astype(np.uint8)
        p_value = self.calibration.p_value(score)
        return Prediction(score, self.threshold, p_value, whole, picture)

    def _assembled(self, job: _Job, planes: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        """Return planes of squares as one plane on the photo."""
        if job.frame is not None:
            return job.frame.restore(planes[0])
        height, width = job.image.shape[:2]
        return blend_tiles(planes, tiles(height, width, self.config.data), height, width)
