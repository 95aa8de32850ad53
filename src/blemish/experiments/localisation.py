"""The downstream localiser: trained on generated pairs, judged on real photos that it never saw."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish import hardware, randomness, runtime
from blemish.config import Turn
from blemish.data import write_png
from blemish.data.pictures import contact_sheet, overlay
from blemish.detection.objective import focal_loss
from blemish.experiments.pair_training import PairObjective, PairTask, fit
from blemish.experiments.training_pairs import Batch, Squares, TrainingPairs
from blemish.metrics.scored import Scored
from blemish.networks import LiteLocaliser, UNetSegmenter
from blemish.records import Record

POOL = 21
"""Side of the window whose mean, at its largest, is the score of a photo, pixels."""

FOCUS = 2.0
_SHEET_ROWS = 8


@dataclass(frozen=True, slots=True)
class LocaliserSettings:
    """How a localiser is trained.

    network: `unet` is the paper's, from scratch; `lite` is ours on ImageNet features. width: of its
    first block. size: side of the squares, pixels. decay: share of the run over which the rate falls.
    light: how much the light of training photos changes, not at all in the paper.
    """

    network: Literal["unet", "lite"] = "lite"
    width: int = 32
    size: int = 256
    batch: int = 8
    iterations: int = 1200
    lr: float = 1e-3
    decay: float = 0.5
    light: float = 0.3
    precision: str = "auto"


@dataclass(frozen=True, eq=False)
class Maps:
    """What a localiser says of photos, in the order that they were given.

    records: the photos. maps: float32 (S, S) in [0, 1]; masks, valid: bool (S, S). scores: of the
    photos, higher = more anomalous.
    """

    records: Sequence[Record]
    maps: Sequence[npt.NDArray[np.float32]]
    masks: Sequence[npt.NDArray[np.bool_]]
    valid: Sequence[npt.NDArray[np.bool_]]
    scores: npt.NDArray[np.float64]

    @property
    def labels(self) -> list[str]:
        """What each photo shows."""
        return [record.label for record in self.records]

    def scored(self) -> Scored:
        """Return them as what figures are made of; padding is left out."""
        found = Scored()
        rows = zip(self.labels, self.scores, self.maps, self.masks, self.valid, strict=True)
        for label, score, values, mask, valid in rows:
            found.add(label, float(score), values, mask, valid)
        return found

    def figures(self, labels: Iterable[str] | None = None) -> dict[str, float | None]:
        """Return image and pixel metrics of the good photos against some types (default: all)."""
        return self.scored().figures(labels)


def pooled_score(maps: Tensor, valid: Tensor) -> Tensor:
    """Return each photo's score (B,): the largest mean of its map over 21 x 21 pixels.

    As in AnomalyDiffusion's downstream protocol. maps: (B, 1, S, S); valid: (B, 1, S, S) in {0, 1};
    padding counts as zero.
    """
    pooled = F.avg_pool2d(maps * valid, POOL, stride=1, padding=POOL // 2)
    return pooled.flatten(1).amax(1)


class Objective(PairObjective):
    """The localiser and its loss on one batch."""

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `loss`: the focal loss of DRAEM's protocol, focus 2.

        Padding counts as good: where nothing is asked of a network it says anything, and through the
        normalisation of whole pictures that is felt everywhere.
        """
        logits = self.logits(batch.picture())
        mask = batch.mask.to(self.device).float()
        return {"loss": focal_loss(logits, mask, FOCUS)}


class LocaliserTask(PairTask):
    """Trains a localiser; chooses its weights on held-out pairs and good photos, never on the test set.

    watched: photos of the test set that are looked at as well, for the papers' protocol; the figures of
    the weights that do best on them are written to `notes`.
    """

    def __init__(
        self,
        settings: LocaliserSettings,
        pairs: TrainingPairs,
        held_out: Sequence[Record],
        *,
        device: torch.device,
        watched: Sequence[Record] = (),
        notes: Path | None = None,
    ) -> None:
        self.objective = Objective(_network(settings, pairs), settings, device)
        super().__init__(self.objective, pairs, settings)
        self.held_out, self.watched, self.notes = held_out, watched, notes

    def validate(self) -> dict[str, float]:
        """Return image AUROC and pixel AP on what was held out; the objective is their mean."""
        figures = judged(self.objective, self.pairs.squares, self.held_out).figures()
        known = {name: figures[name] for name in ("image_auroc", "pixel_ap")}
        values = {name: value for name, value in known.items() if value is not None}
        if self.notes is not None:
            seen = judged(self.objective, self.pairs.squares, self.watched).figures()
            if _sum(seen) >= _sum(read_notes(self.notes)):
                runtime.write_json(self.notes, seen)
        return {**values, "objective": float(np.mean(list(values.values()))) if values else 0.0}

    def sheet(self, path: Path) -> None:
        """Draw some held-out photos, what is marked in them, and what should be."""
        some = self.held_out[:: max(1, len(self.held_out) // _SHEET_ROWS)][:_SHEET_ROWS]
        found = judged(self.objective, self.pairs.squares, some)
        rows = []
        for record, values, mask in zip(some, found.maps, found.masks, strict=True):
            photo = self.pairs.squares.view(record).image
            drawn = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
            rows.append([photo, overlay(photo, values), drawn])
        write_png(path, contact_sheet(rows, ["photo", "map", "mask"]))


def train_localiser(
    settings: LocaliserSettings,
    goods: Sequence[Record],
    sources: Sequence[Sequence[Record]],
    held_out: Sequence[Record],
    test: Sequence[Record],
    folder: Path,
    *,
    turns: Sequence[Turn] = (),
    seed: int = 0,
    device: str = "auto",
    watch_test: bool = False,
) -> tuple[Maps, dict[str, float | None]]:
    """Return what a localiser says of the test photos, and the papers' protocol's figures.

    goods: good photos to learn from; sources: defects to learn from, each a source of its own;
    held_out: chooses the weights; watch_test: also note the figures of the weights that do best on the
    test photos, which is what the papers print; {} otherwise. A run that was killed goes on where it
    was.
    """
    where = hardware.device(device)
    squares = Squares(settings.size)
    types = sorted({record.label for source in sources for record in source})
    pairs = TrainingPairs(
        goods,
        sources,
        types,
        squares,
        batch=settings.batch,
        turns=turns,
        light=settings.light,
        seed=seed,
    )
    notes = folder / "test_selected.json" if watch_test else None
    task = LocaliserTask(settings, pairs, held_out, device=where, watched=test, notes=notes)
    fit(task, settings, folder, where)
    return judged(task.objective, squares, test), read_notes(notes)


def read_notes(path: Path | None) -> dict[str, float | None]:
    """Return the figures of the weights that did best on the test photos so far, {} without any."""
    if path is None or not path.is_file():
        return {}
    found: dict[str, float | None] = json.loads(path.read_text(encoding="utf-8"))
    return found


def judged(objective: Objective, squares: Squares, records: Sequence[Record]) -> Maps:
    """Return what the localiser says of photos."""
    maps, masks, valid, scores = [], [], [], []
    for views, batch, logits in objective.answers(squares, records):
        found = logits.sigmoid()
        scores += pooled_score(found, batch.valid.float()).tolist()
        maps += list(found[:, 0].numpy())
        masks += [view.allowed for view in views]
        valid += [view.valid for view in views]
    return Maps(records, maps, masks, valid, np.array(scores))


def _network(settings: LocaliserSettings, pairs: TrainingPairs) -> nn.Module:
    """Return a fresh network, its weights decided by the pairs' seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.stream_seed(pairs.seed, "localiser"))
        if settings.network == "unet":
            unet = UNetSegmenter(settings.width, pictures=1)
            for layer in unet.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.normal_(layer.weight, 0.0, 0.02)
            return unet
        lite = LiteLocaliser(settings.width)
    lite.encoder.load_imagenet()
    step = max(1, len(pairs.goods) // 32)
    shown = np.stack([pairs.squares.view(record).image for record in pairs.goods[::step][:32]])
    lite.encoder.standardise(torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 255)
    return lite


def _sum(figures: Mapping[str, float | None]) -> float:
    """Return what the reference code chooses its epoch by."""
    names = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")
    return sum(figures.get(name) or 0.0 for name in names)
