"""Defects to learn from beside the drawn ones: a few real photos, and generated ones."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from blemish.config import InspectorConfig, Turn
from blemish.data import (
    Dataset,
    Split,
    as_tiled,
    hold_out,
    letterbox,
    read_mask,
    read_sample,
    refuse_test,
)
from blemish.detection.photos import Kept, View, turned, window
from blemish.errors import DatasetError
from blemish.randomness import stream_seed
from blemish.records import Record
from blemish.runtime import file_sha256, logger

Mask = npt.NDArray[np.bool_]

STRANGER = -1
"""The family of a photo that has none among the good ones."""

_HELD_OUT = 0.1
_CACHED_BYTES = 1 << 29  # in each worker process


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
    """Return the SHA-256 over the examples' photos and masks and their origins, in any order."""
    facts = [
        [r.label, r.source or "", *r.made_of, *(file_sha256(f) for f in (r.image, r.mask) if f)]
        for r in records
    ]
    return hashlib.sha256(json.dumps(sorted(facts)).encode()).hexdigest()


def divided(
    records: Sequence[Record], goods: Split, kin: Mapping[Record, int], seed: int
) -> tuple[list[tuple[Record, int]], list[tuple[Record, int]]]:
    """Return the examples that training sees and those that validation keeps, each with its family.

    A pair that was painted on a good photo belongs to that photo's family: painted on a photo that is
    held out, it is held out too, or training would see what the threshold is set on. Some real defects
    are held out as well (`held_defects`), or the weights would be chosen on defects that training has
    seen. Validation keeps what shows nothing that training sees, neither defect nor photo, training
    what shows nothing held out; what shows some of both, neither has. kin: the families of the good
    photos.

    Where a generated example does not say what it was made of, only its photo decides; of those on no
    good photo a tenth is held out.
    """
    owners, away = _on_goods(records, goods, kin)
    origins = {record: _origins(record) for record in records}
    silent = [record for record in records if not origins[record]]
    if silent:
        logger.warning(
            "%d generated defects do not say which real ones they were made of: what is learned from "
            "them is judged by the same defects, and looks better than it is; generate them anew",
            len(silent),
        )
    strangers = [record for record in silent if owners[record] == STRANGER]
    tenth = set(hold_out(strangers, seed=seed, fraction=_HELD_OUT, at_least=0).validation)
    telling = {record: some for record, some in origins.items() if some}
    apart = [record for record in telling if record in away or owners[record] == STRANGER]
    defects = held_defects(telling, apart, seed)
    kept = set(silent) & (away | tenth) | {r for r in apart if origins[r] <= defects}
    shown = {r for r in records if not origins[r] & defects} - away - kept
    if telling:
        logger.info(
            "%d real defects are held out; %d examples are half training's, half not, and left out",
            len(defects),
            len(set(records) - shown - kept),
        )
    first, second = ([(r, owners[r]) for r in records if r in side] for side in (shown, kept))
    return first, second


def held_defects(
    origins: Mapping[Record, frozenset[str]], apart: Collection[Record], seed: int
) -> frozenset[str]:
    """Return the real defects to hold out: about a tenth, but at least one where a type has two.

    Of a type that has n of them at most max(1, n / 10) are, and never all; types with many come first,
    as one of many is missed least. origins: the real defects in each example; apart: the examples that
    are on no good photo of training. A defect that is alone in none of these would leave nothing to
    judge by; one that is in all pairs of its type, as where a network painted, nothing to learn from.
    """
    types: dict[str, frozenset[str]] = {}
    everywhere: dict[str, frozenset[str]] = {}
    for record, some in origins.items():
        label = record.label
        types[label] = types.get(label, frozenset()) | some
        if record.synthetic:
            everywhere[label] = everywhere.get(label, some) & some
    alone = frozenset().union(*(origins[record] for record in apart if len(origins[record]) == 1))
    rank = {name: stream_seed(seed, "defect", name) for name in alone}
    several = frozenset().union(*(some for some in types.values() if len(some) > 1))
    held: frozenset[str] = frozenset()
    while len(held) < max(1, round(_HELD_OUT * len(several))):
        last = frozenset().union(*(left for some in types.values() if len(left := some - held) == 1))
        free = [
            (-len(some) / (1 + len(some & held)), rank[name], name)
            for label, some in types.items()
            if len(some & held) < max(1, round(_HELD_OUT * len(some)))
            for name in (alone & some) - everywhere.get(label, frozenset()) - last - held
        ]
        if not free:
            break
        held |= {min(free)[-1]}
    return held


def _origins(record: Record) -> frozenset[str]:
    """Return the real defects that an example shows, each by the SHA-256 of its photo."""
    return frozenset(record.made_of if record.synthetic else [file_sha256(record.image)])


def _on_goods(
    records: Sequence[Record], goods: Split, kin: Mapping[Record, int]
) -> tuple[dict[Record, int], set[Record]]:
    """Return the family of each example's good photo, and the examples whose photo is held out."""
    painted = any(record.source for record in records)  # without, no good photo need be hashed
    hashes = {good: file_sha256(good.image) for good in kin} if painted else {}
    families = {sha256: kin[good] for good, sha256 in hashes.items()}
    # A family on both sides holds nobody out; its photos do, one by one.
    held = {kin[r] for r in goods.validation} - {kin[r] for r in goods.train}
    photos = {hashes.get(good) for good in goods.validation} - {None}
    owners = {record: families.get(record.source or "", STRANGER) for record in records}
    return owners, {r for r in records if owners[r] in held or r.source in photos}


class Examples:
    """Photos of defects as squares, kept in memory while they fit; all types come up equally often."""

    def __init__(self, examples: Sequence[tuple[Record, int]], settings: InspectorConfig) -> None:
        """`examples`: photos with the families of the good photos that they were painted on."""
        self.examples, self.settings = tuple(examples), settings
        self.records = tuple(record for record, _ in examples)
        self.families = tuple(family for _, family in examples)
        self.config = settings.data
        self._whole = Kept(self._read, self.config, _CACHED_BYTES)
        types: dict[str, list[int]] = defaultdict(list)
        for number, record in enumerate(self.records):
            types[record.label].append(number)
        self.types = [types[label] for label in sorted(types)]

    def __reduce__(self) -> tuple[type[Examples], tuple[object, ...]]:
        """Return how a worker process that is not forked makes its own: the cache cannot travel."""
        return Examples, (self.examples, self.settings)

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
        whole, size = self._whole(number), self.config.size
        if self.config.framing == "letterbox":
            return whole, whole.allowed
        places = rng.choice(np.argwhere(whole.allowed))
        top, left = (
            int(np.clip(place - rng.integers(size), 0, max(0, length - size)))
            for place, length in zip(places, whole.allowed.shape, strict=True)
        )
        square = window(whole, (top, left), size)
        return square, square.allowed

    def _read(self, number: int) -> View:
        """Return an example as a letterboxed square, or whole as tiles look at it."""
        sample, size = read_sample(self.records[number]), self.config.size
        assert sample.mask is not None  # noqa: S101 - `checked` refuses others
        if self.config.framing == "letterbox":
            image, frame = letterbox(sample.image, size)
            mask = letterbox(sample.mask, size)[0]
            return View(image, frame.valid(), frame.repeated(mask))
        image, mask = (as_tiled(p, self.config.framing, size) for p in (sample.image, sample.mask))
        return View(image, np.ones_like(mask), mask)
