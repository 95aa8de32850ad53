"""What the downstream networks learn from: good photos, and pairs of one or several sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from blemish.config import Turn
from blemish.data import letterbox, read_sample
from blemish.detection.photos import View, turned
from blemish.errors import DatasetError
from blemish.randomness import numpy_generator
from blemish.records import Record, by_label

_CACHED_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Batch:
    """Squares and what they show.

    photo: uint8 (B, S, S, 3). mask, valid: bool (B, 1, S, S), True = defect, True = not padding.
    label: int64 (B,), the number of the type, -1 for a good photo.
    """

    photo: Tensor
    mask: Tensor
    valid: Tensor
    label: Tensor

    def picture(self) -> Tensor:
        """Return the photos as the networks take them, float32 (B, 3, S, S) in [0, 1]."""
        return self.photo.permute(0, 3, 1, 2).float() / 255


class Squares:
    """Random access to photos as squares with masks, kept in memory while they fit."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.view = lru_cache(maxsize=max(1, _CACHED_BYTES // (5 * size**2)))(self._read)

    def __reduce__(self) -> tuple[type[Squares], tuple[int]]:
        """Return how a worker process that is not forked makes its own: the cache cannot travel."""
        return Squares, (self.size,)

    def _read(self, record: Record) -> View:
        """Return a photo's square; `allowed` is the mask of its defect."""
        sample = read_sample(record)
        if sample.mask is None:
            raise DatasetError(
                f"{record.image} has no mask of its defect", hint="draw it, or leave the photo out"
            )
        image, frame = letterbox(sample.image, self.size)
        return View(image, frame.valid(), letterbox(sample.mask, self.size)[0])


class TrainingPairs(Dataset[list[Batch]]):
    """Item i is iteration i: one batch that is a pure function of (seed, i).

    A photo is good with probability `good_share`, or else of a source, all equally likely, and in it of
    a type, all equally likely (AnomalyDiffusion, downstream protocol). Without sources all are good. It
    is turned as good photos may be, and its light changes a little (`relit`).
    """

    def __init__(
        self,
        goods: Sequence[Record],
        sources: Sequence[Sequence[Record]],
        types: Sequence[str],
        squares: Squares,
        *,
        batch: int,
        good_share: float = 0.5,
        turns: Sequence[Turn] = (),
        light: float = 0.0,
        seed: int = 0,
    ) -> None:
        """`types`: the names that `Batch.label` counts; any other label is -1. `light`: see `relit`."""
        self.goods, self.squares, self.types = tuple(goods), squares, tuple(types)
        self.sources = [list(by_label(source).values()) for source in sources if source]
        self.batch_size, self.good_share, self.turns, self.seed = batch, good_share, turns, seed
        self.light = light
        if not self.goods and (good_share > 0 or not self.sources):
            raise DatasetError("there are no good photos to learn from", hint="put some in train/good")

    def __getitem__(self, iteration: int) -> list[Batch]:
        """Return the one micro-batch of an iteration."""
        rows = []
        for slot in range(self.batch_size):
            rng = numpy_generator(self.seed, "downstream", iteration, slot)
            record = self._chosen(rng)
            view = turned(self.squares.view(record), self.turns, rng)
            rows.append((relit(view, self.light, rng), record.label))
        return [batch_of(rows, self.types)]

    def _chosen(self, rng: np.random.Generator) -> Record:
        if not self.sources or rng.random() < self.good_share:
            return self.goods[int(rng.integers(len(self.goods)))]
        source = self.sources[int(rng.integers(len(self.sources)))]
        group = source[int(rng.integers(len(source)))]
        return group[int(rng.integers(len(group)))]


def relit(view: View, strength: float, rng: np.random.Generator) -> View:
    """Return a square in another light; strength 0 leaves it as it is, 0.3 is plain to see.

        x' = 255 a (x / 255)^g + b,    log a, log g, b / 40 uniform within -strength .. strength

    Tells a network that neither the level nor the contrast of a photo is what makes a defect.
    """
    if strength == 0:
        return view
    gain, gamma, shift = rng.uniform(-strength, strength, 3)
    levels = 255 * np.exp(gain) * (np.arange(256) / 255) ** np.exp(gamma) + 40 * shift
    table = np.rint(levels).clip(0, 255).astype(np.uint8)
    return View(table[view.image], view.valid, view.allowed)


def batch_of(rows: Sequence[tuple[View, str]], types: Sequence[str]) -> Batch:
    """Return squares with the names of what they show as one batch."""
    views, labels = zip(*rows, strict=True)
    number = {label: place for place, label in enumerate(types)}
    return Batch(
        photo=torch.from_numpy(np.stack([view.image for view in views])),
        mask=torch.from_numpy(np.stack([view.allowed for view in views]))[:, None],
        valid=torch.from_numpy(np.stack([view.valid for view in views]))[:, None],
        label=torch.tensor([number.get(label, -1) for label in labels]),
    )
