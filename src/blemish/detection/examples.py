"""Defects to learn from beside the drawn ones: a few real photos, and generated ones."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from blemish.config import InspectorConfig, Turn
from blemish.data import (
    Dataset,
    Split,
    cut_tile,
    hold_out,
    letterbox,
    read_mask,
    read_sample,
    refuse_test,
)
from blemish.detection.photos import View, turned
from blemish.errors import DatasetError
from blemish.records import Record
from blemish.runtime import file_sha256, logger

Mask = npt.NDArray[np.bool_]

STRANGER = -1
"""The family of a photo that has none among the good ones."""

_HELD_OUT = 0.1


def gathered(dataset: Dataset, config: InspectorConfig, given: Sequence[Record]) -> tuple[Record, ...]:
    """Return the defects to learn from: those given, and the dataset's own that have masks.

    None where `synthesis.examples_share` is 0. Raises as `checked` does.
    """
    if not config.synthesis.examples_share:
        return ()
    own = [record for record in dataset.train_defects if record.mask is not None]
    if len(own) < len(dataset.train_defects):
        logger.warning(
            "%d training photos of defects have no mask and are not learned from",
            len(dataset.train_defects) - len(own),
        )
    return checked([*own, *given])


def checked(records: Sequence[Record]) -> tuple[Record, ...]:
    """Return the examples, all of which may be learned from, in an order that their content decides.

    Raises:
        DatasetError: one has no mask or an empty one, or is of the test split.
    """
    refuse_test(records)
    ranked = []
    for record in records:
        if record.mask is None or not read_mask(record.mask).any():
            raise DatasetError(
                f"{record.image} has no mask of its defect, and nothing can be learned from it",
                hint="draw its mask, or move it to test/",
            )
        ranked.append((file_sha256(record.image), file_sha256(record.mask), record.label, record))
    return tuple(record for *_, record in sorted(ranked, key=itemgetter(0, 1, 2)))


def digest(records: Sequence[Record]) -> str:
    """Return the SHA-256 over the content of the examples' photos and masks, in any order."""
    files = [
        [r.label, r.source or "", *(file_sha256(f) for f in (r.image, r.mask) if f)] for r in records
    ]
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()


def divided(
    records: Sequence[Record], goods: Split, kin: Mapping[Record, int], seed: int
) -> tuple[list[tuple[Record, int]], list[tuple[Record, int]]]:
    """Return the examples that training sees and those that validation keeps, each with its family.

    A pair that was painted on a good photo belongs to that photo's family: painted on a photo that is
    held out, it is held out too, or training would see what the threshold is set on. Of the others a
    tenth is held out. kin: the families of the good photos.
    """
    painted = any(record.source for record in records)  # without, no good photo need be hashed
    hashes = {good: file_sha256(good.image) for good in kin} if painted else {}
    families = {sha256: kin[good] for good, sha256 in hashes.items()}
    # A family on both sides holds nobody out; its photos do, one by one.
    held = {kin[r] for r in goods.validation} - {kin[r] for r in goods.train}
    photos = {hashes.get(good) for good in goods.validation} - {None}
    owners = {record: families.get(record.source or "", STRANGER) for record in records}
    strangers = [record for record in records if owners[record] == STRANGER]
    kept = set(hold_out(strangers, seed=seed, fraction=_HELD_OUT, at_least=0).validation)
    away = {r for r in records if owners[r] in held or r.source in photos} | kept
    shown = [(record, owners[record]) for record in records if record not in away]
    return shown, [(record, owners[record]) for record in records if record in away]


class Examples:
    """Photos of defects as squares; all types come up equally often."""

    def __init__(self, examples: Sequence[tuple[Record, int]], settings: InspectorConfig) -> None:
        """`examples`: photos with the families of the good photos that they were painted on."""
        self.records = tuple(record for record, _ in examples)
        self.families = tuple(family for _, family in examples)
        self.config = settings.data
        types: dict[str, list[int]] = defaultdict(list)
        for number, record in enumerate(self.records):
            types[record.label].append(number)
        self.types = [types[label] for label in sorted(types)]

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.records)

    def sample(self, rng: np.random.Generator, turns: Sequence[Turn]) -> tuple[View, Mask, int]:
        """Return a random example, turned as good photos are, the mask of its defect, its family."""
        numbers = self.types[int(rng.integers(len(self.types)))]
        number = numbers[int(rng.integers(len(numbers)))]
        seen = turned(self.view(number, rng)[0], turns, rng)
        return seen, seen.allowed, self.families[number]

    def view(self, number: int, rng: np.random.Generator) -> tuple[View, Mask]:
        """Return an example's square and mask; of a tiled photo a window with a part of the defect.

        The square's `allowed` is the mask too.
        """
        sample = read_sample(self.records[number])
        assert sample.mask is not None  # noqa: S101 - `checked` refuses others
        size = self.config.size
        if self.config.framing == "letterbox":
            image, frame = letterbox(sample.image, size)
            mask = letterbox(sample.mask, size)[0]
            valid = frame.valid()
            return View(image, valid, mask & valid), mask & valid
        row, column = (int(place) for place in rng.choice(np.argwhere(sample.mask)))
        height, width = sample.mask.shape
        corner = tuple(
            int(np.clip(place - rng.integers(size), 0, max(0, length - size)))
            for place, length in ((row, height), (column, width))
        )
        top, left = corner
        valid, mask = np.zeros((size, size), np.bool_), np.zeros((size, size), np.bool_)
        part = sample.mask[top : top + size, left : left + size]
        valid[: part.shape[0], : part.shape[1]] = True
        mask[: part.shape[0], : part.shape[1]] = part
        return View(cut_tile(sample.image, (top, left), size), valid, mask), mask
