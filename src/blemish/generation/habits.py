"""Whether a type's defects keep to certain places of the product: a test against chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from blemish.generation.masks import Points, Template, bounds
from blemish.generation.warps import TURNS
from blemish.synthesis.arrays import Mask

if TYPE_CHECKING:
    from blemish.config import Turn

OVERLAP = 0.75
"""So much of a mask must lie on the product; what is left over is cut off."""

SIGNIFICANT = 0.05

_FEWEST, _MOST = 3, 32
_REPLICAS = 199
_NEAR = 0.15
_TRIES, _POINTS = 300, 200
_LEAST_SPREAD = 0.02
_LEAST_SIZES = math.log(1.2) / math.sqrt(3)


@dataclass(frozen=True, slots=True)
class Habit:
    """Whether a type's defects keep to certain places of the product, and how closely.

    p_value: of places drawn at random on the product, the share of sets that lie as close together.
    spread: kernel widths of the places along both axes, as shares of the product's box, (2,).
    """

    p_value: float
    spread: Points

    @property
    def keeps(self) -> bool:
        """Whether chance does not explain the places: only then are they followed."""
        return self.p_value <= SIGNIFICANT


def habit(templates: Sequence[Template], turns: Sequence[Turn], rng: np.random.Generator) -> Habit:
    """Return whether these defects keep to certain places, by a test against chance.

        closeness = mean over i < j of max over turns of exp(-|p_i - turn p_j|^2 / (2 * 0.15^2))
        p = (1 + #{closeness of random places >= closeness}) / (1 + 199)

    p_i: the centroid within the product's box, from -1/2 to 1/2. Random places are those on its own
    product where the mask fits; a mask that the frame cuts off stays at its side. With fewer than three
    masks p is 1.
    """
    chosen = np.linspace(0, len(templates) - 1, min(len(templates), _MOST), dtype=int)
    some = [templates[index] for index in chosen]
    places = np.stack([in_box(template.centre, template) for template in some])
    if len(some) < _FEWEST:
        return Habit(1.0, np.full(2, _LEAST_SPREAD))
    pools = [_possible(template, rng) for template in some]
    chance = np.stack([pool[rng.integers(len(pool), size=_REPLICAS)] for pool in pools], axis=1)
    turning = np.array([np.eye(2), *(TURNS[turn] for turn in turns)])
    observed = _closeness(places, turning)
    as_close = sum(_closeness(replica, turning) >= observed - 1e-12 for replica in chance)
    # Scott's rule for two dimensions.
    spread = places.std(axis=0, ddof=1) * len(some) ** (-1 / 6)
    return Habit((1 + as_close) / (1 + _REPLICAS), np.maximum(spread, _LEAST_SPREAD))


def size_spread(types: Mapping[str, Sequence[Template]]) -> dict[str, float]:
    """Return by type how much sizes of new defects differ from those of the real ones, in logarithm.

        spread = max(s n^(-1/5), log(1.2) / sqrt(3))

    s: deviation of the logarithm of the longer side, as a share of the product's; of n masks of the
    type or, where these are fewer than three, within all types that have as many. The kernel's width of
    a smoothed bootstrap (Scott 1979): a few photos do not show how large a defect gets.
    """
    logs = {label: np.log([mask.extent.max() for mask in masks]) for label, masks in types.items()}
    known = [one - one.mean() for one in logs.values() if len(one) >= _FEWEST]
    free = sum(len(one) - 1 for one in known)
    pooled = math.sqrt(sum(float((one**2).sum()) for one in known) / free) if free else 0.0

    def spread(one: npt.NDArray[np.float64]) -> float:
        own = float(one.std(ddof=1)) if len(one) >= _FEWEST else pooled
        return max(own / math.pow(len(one), 1 / 5), _LEAST_SIZES)

    return {label: spread(one) for label, one in logs.items()}


def in_box(points: Points, template: Template) -> Points:
    """Return points of the template's photo as shares of the product's box, from -1/2 to 1/2."""
    first, last = bounds(template.product | template.mask)
    shares: Points = (points - first) / np.maximum(last - 1 - first, 1) - 0.5
    return shares


def _possible(template: Template, rng: np.random.Generator) -> Points:
    """Return places, in the product's box, where the mask could as well have been: (n, 2), n > 0."""
    product = template.product | template.mask
    pixels = np.argwhere(product)
    centres = pixels[rng.integers(len(pixels), size=_TRIES)].astype(np.float64)
    for axis, _ in template.sides:
        centres[:, axis] = template.centre[axis]
    offsets = some_pixels(template.mask) - template.centre
    shares = lookup(product, centres[:, np.newaxis] + offsets).mean(1)
    fitting = centres[shares >= OVERLAP]
    return in_box(fitting if len(fitting) else template.centre[np.newaxis], template)


def _closeness(places: Points, turning: Points) -> float:
    turned = np.einsum("tij,nj->tni", turning, places)
    squares = ((places[np.newaxis, :, np.newaxis] - turned[:, np.newaxis]) ** 2).sum(-1).min(0)
    near = np.exp(-squares / (2 * _NEAR**2))
    return float(near[np.triu_indices(len(places), 1)].mean())


def some_pixels(mask: Mask) -> Points:
    """Return at most 200 pixels of the mask, evenly spread over it."""
    pixels = np.argwhere(mask)
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), _POINTS)).round().astype(int)
    evenly: Points = pixels[chosen].astype(np.float64)
    return evenly


def lookup(mask: Mask, points: Points) -> npt.NDArray[np.bool_]:
    """Return the mask at points (..., 2); False outside the frame."""
    places = np.rint(points).astype(int)
    within = ((places >= 0) & (places < mask.shape)).all(-1)
    inside = places.clip(0, np.array(mask.shape) - 1)
    found: npt.NDArray[np.bool_] = mask[inside[..., 0], inside[..., 1]] & within
    return found
