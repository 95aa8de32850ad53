"""What good photos look like, for a gate that asks whether what was painted looks like none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from blemish.data import letterbox, read_sample, shrink_mask
from blemish.networks import LiteEncoder, Novelty
from blemish.networks.kinship import related

if TYPE_CHECKING:
    from blemish.generation.measures import Features, Floats
    from blemish.records import Record
    from blemish.synthesis.arrays import Image, Mask

_WIDTHS = LiteEncoder.widths[-2:]
VIEW = 256
"""Side of the square that a photo is looked at in, pixels: as an inspector sees it whole."""

_PHOTOS = 256


class Normality(Novelty):
    """How far a place is from all that good photos have shown, as an inspector will see it."""

    def __init__(self) -> None:
        super().__init__(_WIDTHS)

    @classmethod
    def of(cls, goods: Sequence[Record], features: Features) -> Normality | None:
        """Return what good photos look like, whole and letterboxed to 256 pixels; 256 of them at most.

        None where all show one part, as how far good parts differ is then not known. goods: at least
        one; features: of a square, at the encoder's strides.
        """
        some = goods[:: max(1, len(goods) // _PHOTOS)][:_PHOTOS]
        squares = [letterbox(read_sample(one).image, VIEW)[0] for one in some]
        families = related(squares)
        if len(set(families)) < 2:
            return None
        seen = [_tensors(features(square)) for square in squares]
        normality = cls()
        normality.fit(seen, families, torch.Generator().manual_seed(0))
        return normality

    def novelty(self, photo: Image, mask: Mask, features: Features) -> float:
        """Return the mean novelty under a mask, in deviations of what good photos differ by.

        photo: uint8 (H, W, 3); mask: bool (H, W), not empty; features: as for `of`.
        """
        with torch.no_grad():
            found = self(_tensors(features(letterbox(photo, VIEW)[0])))[0, 0].numpy()
        cells = shrink_mask(letterbox(mask, VIEW)[0], *found.shape)
        return float(found[cells].mean())


def _tensors(maps: Sequence[Floats]) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(one))[None] for one in maps[-len(_WIDTHS) :]]
