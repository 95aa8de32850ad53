"""The cells of the downstream tables: one network trained on some sources, judged on unread photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.config import Turn
from blemish.experiments.classification import RESNET34, ClassifierSettings, train_classifier
from blemish.experiments.galleries import GALLERY, write_gallery
from blemish.experiments.grid import content_digest
from blemish.experiments.localisation import LocaliserSettings, Maps, train_localiser
from blemish.experiments.protocol import divided
from blemish.metrics import ImageCounts
from blemish.networks.published import find_weights
from blemish.records import Record
from blemish.runtime import atomic_write, file_sha256

SCORES = "scores.npz"
_HELD_GOODS = 30


@dataclass(frozen=True)
class _Cell:
    """What both kinds of cell are told. sources: name and pairs; turns: that good photos allow."""

    name: str
    sources: Mapping[str, Sequence[Record]]
    test: Sequence[Record]
    turns: tuple[Turn, ...]
    seed: int

    @cached_property
    def _digests(self) -> dict[str, Any]:
        sources = {name: content_digest(records) for name, records in self.sources.items()}
        return {"sources": sources, "test": content_digest(self.test)}


@dataclass(frozen=True)
class LocalisationCell(_Cell):
    """A localiser trained on good photos and on pairs of some sources.

    paper_protocol: also tell the figures of the weights that do best on the test photos.
    """

    goods: Sequence[Record]
    settings: LocaliserSettings
    paper_protocol: bool = False

    def identity(self) -> Mapping[str, Any]:
        """Return all that decides the result."""
        return {
            "task": "localisation",
            "settings": asdict(self.settings),
            "seed": self.seed,
            "turns": list(self.turns),
            "paper_protocol": self.paper_protocol,
            "data": self._digests | {"goods": content_digest(self.goods)},
        }

    def __call__(self, folder: Path, device: str) -> Mapping[str, Any]:
        """Return the figures; write scores.npz, which their intervals are made of, and gallery.npz."""
        goods = divided(self.goods, self.seed)
        parts = [divided(source, self.seed) for source in self.sources.values()]
        maps, test_selected = train_localiser(
            self.settings,
            goods.shown,
            [part.shown for part in parts],
            (*goods.held[:_HELD_GOODS], *(record for part in parts for record in part.held)),
            self.test,
            folder / "run",
            turns=self.turns,
            seed=self.seed,
            device=device,
            watch_test=self.paper_protocol,
        )
        write_scores(folder / SCORES, maps)
        write_gallery(folder / GALLERY, maps)
        scored = maps.scored()
        result = {"figures": scored.figures(), "per_type": scored.per_type()}
        return result | ({"test_selected": test_selected} if self.paper_protocol else {})


@dataclass(frozen=True)
class ClassificationCell(_Cell):
    """A classifier of defect types, trained on pairs of some sources."""

    settings: ClassifierSettings

    def identity(self) -> Mapping[str, Any]:
        """Return all that decides the result."""
        given = self.settings.weights
        weights = given and file_sha256(find_weights(RESNET34, Path(given)))
        return {
            "task": "classification",
            "settings": asdict(self.settings) | {"weights": weights},
            "seed": self.seed,
            "turns": list(self.turns),
            "data": self._digests,
        }

    def __call__(self, folder: Path, device: str) -> Mapping[str, Any]:
        """Return the accuracy, by type too, and what was taken for what."""
        parts = [divided(source, self.seed) for source in self.sources.values()]
        defects = [record for record in self.test if not record.is_good]
        found = train_classifier(
            self.settings,
            [part.shown for part in parts],
            [record for part in parts for record in part.held],
            defects,
            folder / "run",
            turns=self.turns,
            seed=self.seed,
            device=device,
        )
        types = sorted({record.label for record in defects})
        confusion = {
            true: {
                guess: sum(
                    record.label == true and said == guess
                    for record, said in zip(defects, found, strict=True)
                )
                for guess in sorted(set(found))
            }
            for true in types
        }
        right = [record.label == said for record, said in zip(defects, found, strict=True)]
        shares = {
            label: float(np.mean([r for r, d in zip(right, defects, strict=True) if d.label == label]))
            for label in types
        }
        return {
            "accuracy": float(np.mean(right)),
            "photos": len(right),
            "per_type": shares,
            "confusion": confusion,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What intervals are made of: a photo's label and score, and its pixels' counts."""

    labels: list[str]
    scores: npt.NDArray[np.float64]
    counts: ImageCounts


def write_scores(path: Path, maps: Maps) -> None:
    """Write what the intervals of a cell's figures are made of, atomically."""
    counts = ImageCounts.of(maps.maps, maps.masks, maps.valid)
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            labels=np.array(maps.labels),
            scores=maps.scores,
            normal=counts.normal,
            defect=counts.defect,
        )


def read_scores(path: Path) -> Scores:
    """Return what `write_scores` wrote."""
    with np.load(path, allow_pickle=False) as found:
        counts = ImageCounts(found["normal"], found["defect"])
        return Scores(found["labels"].tolist(), found["scores"], counts)
