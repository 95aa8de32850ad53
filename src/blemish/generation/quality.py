"""Is a generated defect there, seamless, new, and like the real ones? A gate that says why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from blemish.errors import DatasetError
from blemish.generation.crops import window_around
from blemish.generation.measures import (
    Features,
    Floats,
    healed,
    masked_features,
    most_alike,
    portrait,
    realised,
    seam,
)
from blemish.generation.placement import NoPlaceError
from blemish.synthesis.arrays import Image, Mask, check_image, check_same_size

if TYPE_CHECKING:
    from blemish.generation.normality import Normality
    from blemish.networks import LiteEncoder

Seen: TypeAlias = tuple[Sequence[Floats], Mask]
"""Feature maps of a square, and the mask in it, bool (S, S)."""

Pair = TypeVar("Pair")

SURELY_A_COPY = 0.995
NOT_A_COPY = 0.97
"""The limit for copies is the likeness of real defects to each other, but within these two."""

PLAIN = 2.0
"""A defect more novel than this is plain to see, in deviations of what good photos differ by."""

SQUARE = 128
"""Side of the square around a defect in which its features are compared, pixels."""

_PLAINEST = 0.75
_BAND = 2**20
"""Pixels that are compared at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What was measured on one pair.

    change: mean change inside the mask, in deviations of the photo's noise. fill: share of the mask
    that has visibly changed, [0, 1]. outside: largest change outside the mask, grey levels.
    seam: mean step across the mask's border over mean step beside it; about 1 where no border shows.
    copy: correlation with the most alike training defect, [-1, 1]. distance: of masked features to the
    nearest real defect, in units of the real ones' own; None without an encoder or with one defect.
    gain: share of the way to the nearest real defect that painting went, from the features of the good
    photo at the same place; 0 where it is no more like one than before; None without an encoder.
    novelty: how far the place is from all that good photos have shown, in deviations of what these
    differ by; None where none were given.
    """

    change: float
    fill: float
    outside: float
    seam: float
    copy: float
    distance: float | None = None
    gain: float | None = None
    novelty: float | None = None

    def summary(self) -> dict[str, float | None]:
        """Return the scores rounded to 4 digits, ready for JSON."""
        values = asdict(self).items()
        return {name: value if value is None else round(value, 4) for name, value in values}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a pair passed, and what was wrong with it: one sentence each, empty when it passed."""

    scores: Scores
    reasons: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """Whether nothing was wrong."""
        return not self.reasons


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The limits that a pair has to keep; `Judge.gate` derives them from the real defects.

    least_change, least_fill, most_seam, most_copy, most_distance, least_gain, least_novelty: for the
    scores of these names; None lets everything pass.
    """

    least_change: float = 1.0
    least_fill: float = 0.5
    most_seam: float | None = 3.0
    most_copy: float | None = NOT_A_COPY
    most_distance: float | None = None
    least_gain: float | None = None
    least_novelty: float | None = None

    def for_moved(self) -> Gate:
        """Return the limits for a real defect that was moved as it is: a copy with a border."""
        return replace(self, most_seam=None, most_copy=None)

    def verdict(self, scores: Scores) -> Verdict:
        """Return whether the scores keep all limits, and if not, which they break."""
        limits: list[tuple[str, float | None, float | None, int]] = [
            ("change", scores.change, self.least_change, -1),
            ("fill", scores.fill, self.least_fill, -1),
            ("outside", scores.outside, 0.0, 1),
            ("seam", scores.seam, self.most_seam, 1),
            ("copy", scores.copy, self.most_copy, 1),
            ("distance", scores.distance, self.most_distance, 1),
            ("gain", scores.gain, self.least_gain, -1),
            ("novelty", scores.novelty, self.least_novelty, -1),
        ]
        broken = (
            f"{name} {value:.3g} {'above' if end > 0 else 'below'} {limit:.3g}"
            for name, value, limit, end in limits
            if value is not None and limit is not None and end * (value - limit) > 0
        )
        return Verdict(scores, tuple(broken))


@dataclass(frozen=True, slots=True)
class Chosen(Generic[Pair]):
    """The pair that was taken and its verdict.

    refused: of every attempt that did not pass the reasons, also of the one that was taken then.
    """

    pair: Pair
    verdict: Verdict
    attempts: int
    refused: tuple[tuple[str, ...], ...]


class Judge:
    """Scores pairs of one defect type against its few real defects."""

    def __init__(
        self,
        real: Sequence[tuple[Image, Mask]],
        features: Features | None = None,
        normality: Normality | None = None,
    ) -> None:
        """`real`: photos with their masks, at least one; `features`: a frozen encoder, None for none.

        normality: what good photos look like in that encoder's features, None where that is not known.

        Raises:
            DatasetError: there is no real defect.
        """
        if not real:
            raise DatasetError("there is no real defect to judge by", hint="give at least one")
        self.real, self.features, self.normality = tuple(real), features, normality
        self.portraits = [portrait(image, mask) for image, mask in real]
        seen = [one for pair in real if (one := self._features(*pair)) is not None]
        vectors = [masked_features(*one) for one in seen]
        self.vectors = np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)

    def scores(self, good: Image, made: Image, mask: Mask) -> Scores:
        """Return the scores of a pair. good, made: uint8 (H, W, 3); mask: bool (H, W), not empty.

        Raises:
            ImageError: the arrays do not belong together.
        """
        check_image(good)
        check_same_size(good, made, "generated photo")
        check_same_size(good, mask, "mask")
        change, fill = realised(good, made, mask)
        before, after = self._features(good, mask), self._features(made, mask)
        return Scores(
            change=change,
            fill=fill,
            outside=_outside(made, good, mask),
            seam=seam(made, mask),
            copy=most_alike(portrait(made, mask), self.portraits),
            distance=self._distance(after),
            gain=self._gain(before, after),
            novelty=self._novelty(made, mask),
        )

    def gate(self) -> Gate:
        """Return limits that the real defects themselves would keep.

            least_change = min(1, c / 2),  least_fill = min(1/2, f / 2)
            most_seam = max(2, 5/4 s),     most_distance = 3/2 d,    least_gain = 0
            least_novelty = min(2, n)

        c, f: smallest of a real defect; s, d: largest of one; n: exceeded by a quarter of them. What
        looks like a good part teaches false alarms (docs/lab.md). most_copy: median likeness of a real
        defect to the nearest other one, in [0.97, 0.995]. The good photo under a real defect is not
        known: its stand-in repeats the colours around the mask.
        Distances are limited from three real defects on.
        """
        changes, fills = zip(*(realised(healed(*pair), *pair) for pair in self.real), strict=True)
        others = [
            most_alike(one, [*self.portraits[:i], *self.portraits[i + 1 :]])
            for i, one in enumerate(self.portraits)
        ]
        apart = self._apart()
        novel = [value for pair in self.real if (value := self._novelty(*pair)) is not None]
        return Gate(
            least_change=min(1.0, min(changes) / 2),
            least_fill=min(0.5, min(fills) / 2),
            most_seam=max(2.0, 1.25 * max(seam(*pair) for pair in self.real)),
            most_copy=float(np.clip(np.median(others), NOT_A_COPY, SURELY_A_COPY)),
            most_distance=1.5 * float(apart.max() / np.median(apart)) if len(apart) > 2 else None,
            least_gain=0.0,
            least_novelty=min(PLAIN, float(np.quantile(novel, _PLAINEST))) if novel else None,
        )

    def _features(self, image: Image, mask: Mask) -> Seen | None:
        """Return what an encoder sees around a mask; None without one."""
        if self.features is None:
            return None
        window = window_around(mask, SQUARE)
        return self.features(window.cut(image)), window.cut_mask(mask)

    def _apart(self) -> npt.NDArray[np.float64]:
        """Return how far each real defect is from the nearest other one: (n,), or none to compare."""
        if len(self.vectors) < 2:
            return np.zeros(0)
        gaps = np.linalg.norm(self.vectors[:, np.newaxis] - self.vectors, axis=2).astype(np.float64)
        np.fill_diagonal(gaps, np.inf)
        nearest: npt.NDArray[np.float64] = np.maximum(gaps.min(1), 1e-6)
        return nearest

    def _distance(self, seen: Seen | None) -> float | None:
        apart = self._apart()
        if seen is None or not len(apart):
            return None
        return self._nearest(seen) / float(np.median(apart))

    def _gain(self, before: Seen | None, after: Seen | None) -> float | None:
        """Return how much nearer to the nearest real defect painting has brought the place."""
        if before is None or after is None:
            return None
        return 1 - self._nearest(after) / max(self._nearest(before), 1e-6)

    def _nearest(self, seen: Seen) -> float:
        return float(np.linalg.norm(self.vectors - masked_features(*seen), axis=1).min())

    def _novelty(self, image: Image, mask: Mask) -> float | None:
        if self.features is None or self.normality is None:
            return None
        return self.normality.novelty(image, mask, self.features)


def first_accepted(
    make: Callable[[int], Pair], judge: Callable[[Pair], Verdict], attempts: int
) -> Chosen[Pair]:
    """Return the first of `make(0)`, `make(1)`, ... that passes; else the one with the fewest faults.

    A pair that did not pass says so in its verdict: what to do with it is the caller's choice.

    Raises:
        NoPlaceError: of every attempt, that its mask fits nowhere.
    """
    tried: list[tuple[Pair, Verdict]] = []
    refused: list[tuple[str, ...]] = []
    for attempt in range(count := max(1, attempts)):
        try:
            pair = make(attempt)
        except NoPlaceError:
            if attempt == count - 1 and not tried:
                raise
            refused.append(("no place for the mask",))
            continue
        tried.append((pair, verdict := judge(pair)))
        if verdict.accepted:
            break
        refused.append(verdict.reasons)
    best, verdict = min(tried, key=lambda one: len(one[1].reasons))
    return Chosen(best, verdict, len(refused) + verdict.accepted, tuple(refused))


def encoder_features(encoder: LiteEncoder) -> Features:
    """Return the encoder as a function of one uint8 picture; it runs where its weights are."""

    def features(image: Image) -> list[Floats]:
        where = next(encoder.buffers()).device
        tensor = torch.from_numpy(np.array(image)).to(where).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            return [level[0].float().cpu().numpy() for level in encoder(tensor)]

    return features


def _outside(made: Image, good: Image, mask: Mask) -> float:
    """Return the largest change outside the mask in grey levels, a few rows at a time."""
    most, rows = 0, max(1, _BAND // max(1, made.shape[1]))
    for first in range(0, len(made), rows):
        here = slice(first, first + rows)
        change = np.abs(made[here].astype(np.int16) - good[here])[~mask[here]]
        most = max(most, int(change.max(initial=0)))
    return float(most)
