"""The few real defects themselves: their patches paint new ones, with texture that is theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from scipy import ndimage
from torch import Tensor

from blemish.data import shrink_mask
from blemish.diffusion import Patches, patch_posterior, surroundings
from blemish.generation.crops import depth, mirrored
from blemish.generation.masks import Template, bounds
from blemish.networks.symmetry import TURNS

if TYPE_CHECKING:
    from blemish.config import Turn
    from blemish.synthesis.arrays import Image, Mask


class Scale(NamedTuple):
    """A neighbourhood and the noise it is for.

    cell: pixels a cell; side: cells a patch; above: the least noise, in deviations of the product's
    pixels, at which it is used.
    """

    cell: int
    side: int
    above: float


SCALES = (Scale(8, 5, 3.0), Scale(4, 5, 1.5), Scale(2, 7, 0.6), Scale(1, 7, 0.0))
"""Chosen on validation photos (docs/lab.md)."""

TOLERANCE = 0.3
"""No patch fits its new surroundings better than this, in deviations of the product's pixels."""

SHAPE = 0.3
"""How far the outline around a cell, and its depth in the defect, may differ from the example's."""

_RING, _GAP = 12, 2
_MARGIN = 32
_MOST = 4000
_DARKEST, _GAIN = 0.02, 3.0


@dataclass(frozen=True, eq=False)
class Exemplar:
    """One real defect of type `label`.

    image: uint8 (H, W, 3); template: its mask, and the product; sha256: of the photo's file.
    """

    image: Image
    template: Template
    label: str
    sha256: str = ""

    @cached_property
    def look(self) -> tuple[float, float]:
        """Brightness and contrast of the photo, as `look` gives them."""
        return look(self.image)


def look(photo: Image) -> tuple[float, float]:
    """Return log brightness and log contrast of a photo: what is alike in photos of one light."""
    return math.log(float(photo.mean()) + 5), math.log(float(photo.std()) + 5)


class Patchwork:
    """Denoises what is inside a mask by the patches of a few real defects, ours.

    A patch stands for its middle where it explains what is seen around: the noisy painting, the photo
    beside it, which is known, and the outline of the mask. Real defects are lit as the photo is: their
    brightness beside the defect is brought to that of the photo.
    """

    def __init__(
        self,
        photo: Image,
        mask: Mask,
        exemplars: Sequence[Exemplar],
        scale: float,
        spread: float,
        rng: np.random.Generator,
        turn: Turn | None = None,
        where: torch.device | None = None,
    ) -> None:
        """`photo`, `mask`: the square to paint; `scale`: its pixels per pixel of the original photo.

        exemplars: of one type; spread: deviation of the product's pixels, 1 = white; turn: how the
        mask was turned, and the exemplars with it; where: the device to work on, None for the CPU.
        """
        self.spread, self.whole = spread, as_picture(photo).to(where)
        self.box = _box(mask)
        rows, columns = self.box
        self.clean = self.whole[..., rows, columns]
        near = mask[rows, columns]
        self.mask = torch.from_numpy(near.astype(np.float32))[None, None].to(where)
        self.depth = _depth(mask)[..., rows, columns].to(where)
        self.level = _level(self.whole, mask)
        views = [(p.to(where), seen) for p, seen in (_view(e, scale, turn) for e in exemplars)]
        cuts = [(self._relit(image, seen), seen) for image, seen in views]
        # Three equal channels say what one of a third of their noise says.
        self.grey = all(_is_grey(picture) for picture in (self.whole, *(image for image, _ in views)))
        # Drawn now and in a fixed order: which scales are asked for must not change what they hold.
        self._known = {
            one: _known([(self._evidence(image), seen) for image, seen in cuts], one, rng)
            for one in SCALES
        }

    def expected_clean(self, seen: Tensor, sigma: float) -> Tensor:
        """Return what a noisy square should be, (1, 3, S, S), 1 = white; outside the mask the photo.

        seen: (1, 3, S, S), x_t / sqrt(alpha_bar) in pixels: the clean picture and noise of deviation
        `sigma`, in units of `spread`.
        """
        rows, columns = self.box
        scale = next(one for one in SCALES if sigma >= one.above)
        around = torch.where(self.mask > 0, seen[..., rows, columns], self.clean)
        cells = F.avg_pool2d(self._evidence(self._standard(around)), scale.cell)
        share = F.avg_pool2d(self.mask, scale.cell)
        precision = (3 if self.grey else 1) / (sigma**2 * share / scale.cell**2 + TOLERANCE**2)
        inside = share.flatten() > 0
        found = patch_posterior(
            surroundings(cells, scale.side)[inside],
            surroundings(precision, scale.side)[inside, 0],
            _traits(
                surroundings(share, scale.side)[inside, 0],
                F.avg_pool2d(self.depth, scale.cell).flatten()[inside],
                scale.side,
            ),
            self._known[scale],
            mode=scale.cell == 1,
        )
        values = cells.flatten(2).clone()
        values[0, :, inside] = found.T
        fine = values.view_as(cells)
        if scale.cell > 1:
            fine = F.interpolate(fine, scale_factor=scale.cell, mode="bilinear", align_corners=False)
        clean = self.whole.clone()
        clean[..., rows, columns] = torch.where(
            self.mask > 0, fine * self.spread + self.level, self.clean
        )
        return clean

    def _evidence(self, picture: Tensor) -> Tensor:
        """Return the channels that tell something: one of a grey picture."""
        return picture.mean(1, keepdim=True) if self.grey else picture

    def _standard(self, picture: Tensor) -> Tensor:
        """Return pixels relative to those beside the defect, in units of `spread`."""
        return (picture - self.level) / self.spread

    def _relit(self, image: Tensor, mask: Mask) -> Tensor:
        """Return an exemplar as it would look in this photo's light, standardised.

            P' = g (P - r) + r_photo,   g = brightness of r_photo / brightness of r

        r: colour beside the defect. So a black gap stays black, and a stain stays half as bright as
        what it lies on.
        """
        if not _beside(mask).any():
            return self._standard(image)
        level = _level(image, mask)
        gain = (self.level.mean() + _DARKEST) / (level.mean() + _DARKEST)
        return gain.clamp(1 / _GAIN, _GAIN) * (image - level) / self.spread


def _known(cuts: Sequence[tuple[Tensor, Mask]], scale: Scale, rng: np.random.Generator) -> Patches:
    """Return the patches of a scale in all exemplars, around cells of their defects.

    Of more than `_MOST` some are drawn before any is cut out: those of a large defect, overlapping as
    they are, would fill the memory.
    """
    grids, places = [], []
    for image, mask in cuts:
        cover = torch.from_numpy(mask.astype(np.float32))[None, None].to(image)
        deepness = _depth(mask).to(image)
        # A grid of cells may lie anywhere on the defect: two of its phases are kept.
        for start in {0, scale.cell // 2}:
            planes = [plane[..., start:, start:] for plane in (image, cover, deepness)]
            grids.append([F.avg_pool2d(plane, scale.cell) for plane in planes])
            places.append(grids[-1][1].flatten().nonzero()[:, 0])
    ends = np.cumsum([len(some) for some in places])
    chosen = np.arange(ends[-1])
    if len(chosen) > _MOST:
        chosen = np.sort(rng.choice(len(chosen), _MOST, replace=False))
    looks, traits, centres = [], [], []
    for (cells, share, deep), some, end in zip(grids, places, ends, strict=True):
        mine = chosen[(chosen >= end - len(some)) & (chosen < end)] - (end - len(some))
        at = some[torch.from_numpy(mine).to(some.device)]
        looks.append(_around(cells, scale.side, at))
        traits.append(_traits(_around(share, scale.side, at)[:, 0], deep.flatten()[at], scale.side))
        centres.append(cells.flatten(2)[0].T[at])
    return Patches(*(torch.cat(some) for some in (looks, traits, centres)))


def _around(picture: Tensor, side: int, places: Tensor) -> Tensor:
    """Return `surroundings` of some cells alone, (N, C, side^2); places: int64 (N,), row by row."""
    padded = F.pad(picture, (side // 2,) * 4, mode="reflect")
    windows = padded[0].unfold(1, side, 1).unfold(2, side, 1)  # a view, (C, H, W, side, side)
    rows, columns = places // picture.shape[-1], places % picture.shape[-1]
    return windows[:, rows, columns].flatten(2).transpose(0, 1)


def _traits(outline: Tensor, depth: Tensor, side: int) -> Tensor:
    """Return what the outline (N, side^2) and the depth (N,) say about cells, in units of `SHAPE`."""
    return torch.cat([outline / SHAPE, depth[:, None] * math.sqrt(side) / SHAPE], dim=1)


def _view(exemplar: Exemplar, scale: float, turn: Turn | None) -> tuple[Tensor, Mask]:
    """Return the surroundings of an exemplar's defect at a scale, turned: (1, 3, h, w) and its mask."""
    image, mask = _cut(exemplar, round(1 / scale, 3))
    if turn is not None:
        image = np.asarray(TURNS[turn](image), np.uint8)
        mask = np.asarray(TURNS[turn](mask), np.bool_)
    return as_picture(image), np.ascontiguousarray(mask)


@lru_cache(64)
def _cut(exemplar: Exemplar, shrink: float) -> tuple[Image, Mask]:
    """Return the defect and its surroundings, `shrink` times smaller than in the photo."""
    mask = exemplar.template.mask
    first, last = bounds(mask)
    shape = np.ceil((last - first) / shrink + 2 * _MARGIN)
    shape = (np.ceil(shape / 8) * 8).astype(int)
    sides = np.rint(shape * shrink).astype(int)
    starts = (first + last - sides) // 2
    rows, columns = (
        mirrored(np.arange(start, start + side), length)
        for start, side, length in zip(starts, sides, mask.shape, strict=True)
    )
    image, seen = exemplar.image[np.ix_(rows, columns)], mask[np.ix_(rows, columns)]
    height, width = (int(length) for length in shape)
    if image.shape[:2] == (height, width):
        return image, seen
    small = Pillow.fromarray(image).resize((width, height), Pillow.Resampling.BOX)
    return np.asarray(small), shrink_mask(seen, height, width)


def _box(mask: Mask) -> tuple[slice, slice]:
    """Return the rows and columns that matter to a mask: its box and more than a patch around it.

    On the grid of the largest cells, so that cells are the same as of the whole square.
    """
    grid = SCALES[0].cell
    first, last = bounds(mask)
    rows, columns = (
        slice(
            max(int(low) - _MARGIN, 0) // grid * grid,
            min(-(-(int(high) + _MARGIN) // grid) * grid, length),
        )
        for low, high, length in zip(first, last, mask.shape, strict=True)
    )
    return rows, columns


def _is_grey(picture: Tensor) -> bool:
    """Return whether all channels of (1, 3, H, W) are the same."""
    return bool((picture == picture[:, :1]).all())


def as_picture(photo: Image) -> Tensor:
    """Return a photo, uint8 (H, W, 3), as float32 (1, 3, H, W), 1 = white."""
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255


def _depth(mask: Mask) -> Tensor:
    """Return how deep in the defect each pixel lies: 0 outside, 1 at the deepest, (1, 1, H, W)."""
    deep = depth(mask)
    return torch.from_numpy((deep / max(deep.max(), 1)).astype(np.float32))[None, None]


def _level(picture: Tensor, mask: Mask) -> Tensor:
    """Return the mean colour beside a defect, (1, 3, 1, 1); of the whole where nothing is beside it."""
    beside = _beside(mask)
    where = torch.from_numpy(beside if beside.any() else np.ones_like(mask))
    return picture[0][:, where.to(picture.device)].mean(1)[None, :, None, None]


def _beside(mask: Mask) -> Mask:
    """Return the pixels near a defect, but not so near that its edge shows in them."""
    near, at_once = (ndimage.binary_dilation(mask, iterations=reach) for reach in (_RING, _GAP))
    return np.asarray(near & ~at_once)
