"""Cells that train a detector and judge it: the rows of DiffusionAD's tables, and of the loop's."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from blemish.config import InspectorConfig
from blemish.data import Dataset, Frame, letterbox, read_sample
from blemish.detection import Length, TrainedDetector, train
from blemish.experiments.downstream import SCORES, write_scores
from blemish.experiments.evaluation import predictions
from blemish.experiments.galleries import GALLERY, some_of_each, write_gallery
from blemish.experiments.grid import content_digest
from blemish.experiments.localisation import Maps
from blemish.metrics.scored import Scored
from blemish.records import Record
from blemish.runtime import peak_memory
from blemish.training.checkpoint import PROGRESS
from blemish.verdicts import Detector

SIDE = 256
"""Of the squares that intervals are made of; photos may be too large to keep whole."""

_BATCH = 8

Figures: TypeAlias = Mapping[str, float | None]


@dataclass(frozen=True)
class DetectorCell:
    """A detector trained on the good photos of a dataset, and on examples of defects if any are given.

    test: what it is judged on. paper_protocol: also tell the figures of the weights that do best on it.
    """

    name: str
    dataset: Dataset
    test: Sequence[Record]
    config: InspectorConfig
    length: Length
    examples: Sequence[Record] = ()
    paper_protocol: bool = False

    def identity(self) -> Mapping[str, Any]:
        """Return all that decides the result, as far as wall-clock budgets allow."""
        return {
            "task": "detection",
            "config": self._settings().model_dump(mode="json"),
            "length": asdict(self.length),
            "data": {
                "goods": content_digest(self.dataset.train),
                "examples": content_digest(self.examples),
                "test": content_digest(self.test),
            },
            **({"paper_protocol": True} if self.paper_protocol else {}),
        }

    def __call__(self, folder: Path, device: str) -> Mapping[str, Any]:
        """Return the figures at the photos' own resolution; what the files hold is of squares."""
        detector, trained, watched = self._trained(folder / "run", device)
        scored, maps, alarms, seconds = inspected(detector, self.test)
        write_scores(folder / SCORES, maps)
        shown = some_of_each(maps.labels, range(len(self.test)))  # the same of every detector
        write_gallery(folder / GALLERY, maps, {n: _normal_look(detector, self.test[n]) for n in shown})
        return {
            "figures": scored.figures(),
            "costs": {
                "train_minutes": trained / 60,
                "photos_per_second": len(self.test) / seconds,
                "memory_mib": peak_memory(),
            },
            "per_type": scored.per_type(),
            "false_alarm_rate": alarms,
            "detector": dict(detector.facts),
            **({"test_selected": best_on_test(watched)} if self.paper_protocol else {}),
        }

    def _trained(self, run: Path, device: str) -> tuple[TrainedDetector, float, list[Figures]]:
        """Return the detector, its seconds, and under the papers' protocol figures of each validation.

        Seconds: from the first look at a photo to the threshold, without the judging of validations. Of
        a run that was resumed, what earlier processes spent outside their loop is not counted.
        """
        begun, before = time.monotonic(), 0.0
        if (run / PROGRESS).exists():
            before = json.loads((run / PROGRESS).read_text(encoding="utf-8"))["elapsed"]
        watched: list[Figures] = []
        judging = 0.0

        def judge(iteration: int, detector: TrainedDetector) -> None:
            nonlocal judging
            start = time.monotonic()
            figures = inspected(detector, self.test).scored.figures()
            watched.append({**figures, "iteration": iteration})
            judging += time.monotonic() - start

        goods = Dataset(self.dataset.root, self.dataset.train, self.dataset.layout)
        detector = train(
            goods,
            self._settings(),
            run,
            self.length.plan(self.config.training, len(goods.train)),
            device=device,
            resume=(run / "split.json").exists(),
            examples=self.examples,
            watch=judge if self.paper_protocol else None,
        )
        return detector, before + time.monotonic() - begun - judging, watched

    def _settings(self) -> InspectorConfig:
        """Return the settings; a detector without examples draws all its defects."""
        if self.examples:
            return self.config
        synthesis = self.config.synthesis.model_copy(update={"examples_share": 0.0})
        return self.config.model_copy(update={"synthesis": synthesis})


def best_on_test(watched: Sequence[Figures]) -> Figures:
    """Return the figures of the weights that DiffusionAD's code keeps, chosen on the test photos.

    Of each validation in order, those are kept that fall behind the kept ones neither in image AUROC
    nor in its sum with pixel AUROC.
    """

    def merits(figures: Figures) -> tuple[float, float]:
        image, pixel = figures["image_auroc"] or 0.0, figures["pixel_auroc"] or 0.0
        return image, image + pixel

    best = watched[0]
    for figures in watched[1:]:
        if all(new >= old for new, old in zip(merits(figures), merits(best), strict=True)):
            best = figures
    return best


class Inspected(NamedTuple):
    """What a detector says of photos.

    alarms: the share of good ones that it rejects, None without any; seconds: that it took, from
    decoded photos to maps, eight at a time.
    """

    scored: Scored
    maps: Maps
    alarms: float | None
    seconds: float


def inspected(detector: Detector, records: Sequence[Record]) -> Inspected:
    """Return what a detector says of photos; its maps as squares of side `SIDE`."""
    scored = Scored()
    maps: list[npt.NDArray[np.float32]] = []
    masks, valid, scores, alarms = [], [], [], []
    seconds: list[float] = []
    verdicts = predictions(detector, records, _BATCH, reconstruct=False, spent=seconds.append)
    for sample, prediction in verdicts:
        mask = sample.mask
        scored.add(sample.record.label, prediction.score, prediction.map, mask)
        scores.append(prediction.score)
        if sample.record.is_good:
            alarms.append(prediction.anomalous)
        drawn = np.zeros(sample.image.shape[:2], np.bool_) if mask is None else mask
        square, where = letterbox(drawn, SIDE)
        maps.append(_shrunk(prediction.map, where))
        masks.append(square)
        valid.append(where.valid() & (mask is not None))
    rate = float(np.mean(alarms)) if alarms else None
    return Inspected(scored, Maps(records, maps, masks, valid, np.array(scores)), rate, sum(seconds))


def _normal_look(detector: Detector, record: Record) -> npt.NDArray[np.uint8]:
    """Return what a photo should look like, as a square of side `SIDE`."""
    picture = detector.predict(read_sample(record).image).reconstruction
    assert picture is not None  # noqa: S101 - every prediction of one photo has it
    square: npt.NDArray[np.uint8] = letterbox(picture, SIDE)[0]
    return square


def _shrunk(values: npt.NDArray[np.float32], where: Frame) -> npt.NDArray[np.float32]:
    """Return a map as the square of a frame, zero on the padding."""
    size = (where.inner_width, where.inner_height)
    square = np.zeros((where.size, where.size), np.float32)
    inner = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    square[where.valid()] = np.asarray(inner).ravel()
    return square
