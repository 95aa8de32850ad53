"""Who learns from what: the few-shot protocol, and how large an experiment is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from blemish.data import Dataset, first_third, hold_out
from blemish.detection import Length
from blemish.errors import DatasetError
from blemish.experiments.classification import ClassifierSettings
from blemish.experiments.localisation import LocaliserSettings
from blemish.records import Record, by_label
from blemish.runtime import file_sha256
from blemish.training import Plan

_MOST_HELD_OUT = 40
_SPARING = 4


@dataclass(frozen=True, slots=True)
class FewShot:
    """The few-shot protocol on one product (AnomalyDiffusion, section 4.1).

    few: the first third of each type's photos, to learn from; where a dataset has defects in its
    training split, those. rest: the others, which nothing but the judging reads. goods, test_goods: the
    good photos of either split.
    """

    few: tuple[Record, ...]
    rest: tuple[Record, ...]
    goods: tuple[Record, ...]
    test_goods: tuple[Record, ...]

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Return the protocol's split of a dataset.

        Raises:
            DatasetError: there is nothing to learn from, or nothing to judge by.
        """
        drawn = [record for record in dataset.defects if record.mask is not None]
        given = tuple(record for record in drawn if record.split == "train")
        few, rest = first_third(drawn)
        if given:
            few, rest = given, tuple(record for record in drawn if record.split == "test")
        test_goods = tuple(record for record in dataset.test if record.is_good)
        both = {record.label for record in few} & {record.label for record in rest}
        if not (both and dataset.train and test_goods):
            raise DatasetError(
                f"{dataset.root} cannot be used for a few-shot experiment: {len(few)} defects to learn "
                f"from, {len(rest)} to judge by, {len(dataset.train)} good photos to learn from, "
                f"{len(test_goods)} to judge by",
                hint="each is needed; defects need masks, and a type needs photos of both kinds",
            )
        return cls(few, rest, dataset.train, test_goods)

    @property
    def test(self) -> tuple[Record, ...]:
        """What everything is judged on: good photos and unread defects."""
        return (*self.test_goods, *self.rest)

    @property
    def learned(self) -> dict[str, tuple[Record, ...]]:
        """What is learned from, by what it is in words."""
        return {"the good photos to learn from": self.goods, "the defects to learn from": self.few}

    @property
    def types(self) -> tuple[str, ...]:
        """The types of defects that can be learned and judged."""
        return tuple(sorted({r.label for r in self.few} & {r.label for r in self.rest}))

    def share(self, part: float) -> Self:
        """Return a share of each type's photos to learn from, judged on the last half of each.

        At most half may be learned from, so that all shares are judged on the same photos
        (AnomalyDiffusion, Table 7, whose own test sets differ from row to row).
        """
        few: list[Record] = []
        rest: list[Record] = []
        groups = by_label((*self.few, *self.rest))
        for group in (groups[label] for label in self.types):
            few += [replace(r, split="train") for r in group[: max(1, int(part * len(group)))]]
            rest += group[-(len(group) // 2) :]
        return replace(self, few=tuple(few), rest=tuple(rest))

    def shots(self, count: int) -> Self:
        """Return the same protocol with at most `count` photos of each type to learn from."""
        return replace(self, few=first_of_each(self.few, count))


def refuse_copies(sources: Mapping[str, Sequence[Record]], test: Sequence[Record]) -> None:
    """Stop where a photo that is judged on is learned from, whatever its name is there.

    sources: what is learned from, by where it comes from in words.

    Raises:
        DatasetError: a photo has the content of one of the test photos.
    """
    judged = {file_sha256(record.image): record.image for record in test}
    for name, records in sources.items():
        for record in records:
            if found := judged.get(file_sha256(record.image)):
                raise DatasetError(
                    f"{record.image}, one of {name}, is the test photo {found}: what has been learned "
                    "from tells nothing of new photos",
                    hint="remove one of the two, and whatever else is in both places",
                )


def first_of_each(records: Sequence[Record], count: int) -> tuple[Record, ...]:
    """Return the first `count` records of each type."""
    return tuple(record for group in by_label(records).values() for record in group[:count])


@dataclass(frozen=True, slots=True)
class Divided:
    """Records to learn from, and those that choose the weights."""

    shown: tuple[Record, ...]
    held: tuple[Record, ...]


def divided(records: Sequence[Record], seed: int) -> Divided:
    """Return a tenth of each type's records held out, and forty at most.

    A type of fewer than four can spare none; where no type can, the records choose the weights
    themselves.
    """
    shown: list[Record] = []
    held: list[Record] = []
    groups = by_label(records)
    for group in groups.values():
        fraction = min(0.1, _MOST_HELD_OUT / len(groups) / len(group))
        at_least = 1 if len(group) >= _SPARING else 0
        split = hold_out(group, seed=seed, fraction=fraction if at_least else 0.0, at_least=at_least)
        shown += split.train
        held += split.validation
    return Divided(tuple(shown), tuple(held or shown))


@dataclass(frozen=True, slots=True)
class Scale:
    """How large an experiment is.

    pairs: generated for each type. classifier_passes: over all generated pairs; None takes the
    classifier's own iterations. preset: of the detector. detector: how long it trains. generator: its
    settings, under those that are asked for; generator_updates: of its network for each type of defect,
    None leaves their number to whoever asks for a network. shots, generated: for the loop, numbers of
    real defects and of generated ones of each type.
    """

    name: str
    pairs: int
    localiser: LocaliserSettings
    classifier: ClassifierSettings
    preset: str
    detector: Length
    classifier_passes: int | None = None
    generator: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    generator_updates: int | None = None
    shots: tuple[int, ...] = (1, 2, 5, 10)
    generated: tuple[int, ...] = (0, 50, 200, 1000)

    def plan(self, types: Collection[str]) -> Plan | None:
        """Return how long a generator's network learns these types; None leaves it open."""
        if self.generator_updates is None:
            return None
        return Plan(iterations=self.generator_updates * len(types))

    def changed(self, values: Mapping[str, Any]) -> Self:
        """Return this scale with other values of some fields, and a name that says so."""
        if not values:
            return self
        words = ", ".join(
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
        )
        return replace(self, name=f"{self.name} with {words}", **values)


FAST = Scale(
    name="fast",
    pairs=100,
    localiser=LocaliserSettings(),
    classifier=ClassifierSettings(size=128, iterations=1000),
    preset="fast",
    detector=Length(iterations=900),
    generated=(0, 50, 200),
)
"""Two cores: a table of one product in under three hours."""

PAPER = Scale(
    name="paper",
    pairs=1000,
    localiser=LocaliserSettings(
        network="unet", width=64, iterations=12_500, lr=1e-4, decay=0.2, light=0.0
    ),
    classifier=ClassifierSettings(decay=0.2),
    classifier_passes=150,
    preset="paper",
    detector=Length(epochs=3000),
    generator={
        "learning": {
            "backbone": "CompVis/ldm-text2im-large-256",
            "encoder": "paper",
            "network": False,
            "batch": 4,
            "masks": True,
        },
        "masks": {"scale_low": 0.85, "scale_high": 1.2, "stray": 0.0},
        "painting": {
            "painter": "network",
            "steps": 200,
            "spacing": 1.0,
            "reweighting": "tempered",
            "shrink": 8,
            "transplants": 0.0,
        },
        "quality": {"attempts": 1},
    },
    generator_updates=300_000 // 73,
)
"""A graphics card: the counts and networks of the papers (docs/equations.md says where they differ).

AnomalyDiffusion learns 73 types together in 300,000 updates; here each product is learned alone.
"""

SCALES = {scale.name: scale for scale in (FAST, PAPER)}
