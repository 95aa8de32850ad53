"""Where a mask goes on a good photo: on the product, where this type's defects like to be."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from blemish.data import read_mask
from blemish.errors import DatasetError
from blemish.generation.habits import OVERLAP, Habit, in_box, lookup, some_pixels
from blemish.generation.masks import Points, Side, Template, bounds, cleaned, filled
from blemish.generation.outlines import just_beyond, outline_places
from blemish.generation.warps import STILL, Change, Jitter, Warp, change, render, turned_side
from blemish.runtime import file_sha256
from blemish.synthesis.arrays import Image, Mask

Region = Path | Sequence[tuple[float, float]]
"""Where defects may be: a mask file, or (x, y) corners in pixels."""


class NoPlaceError(DatasetError):
    """No mask fits the region: another photo or another mask may."""


ATTEMPTS, _AS_IT_IS = 60, 20
MOST_STRETCH = 1.6
"""A mask from edge to edge goes on photos that are at most so many times longer or shorter."""

SMALL = 1 / 3
"""A mask that covers less of the product's height and width keeps its size in pixels."""

_SHRINK = 0.9


@dataclass(frozen=True, slots=True)
class Placed:
    """A mask on a good photo.

    mask: bool (H, W), a non-empty part of the allowed region. overlap: the share of the whole mask
    that lay inside it. attempts: places that were tried. relaxed: the type's own places and sizes did
    not fit, and were given up. warp: from the photo of the template to this one.
    """

    mask: Mask
    overlap: float
    attempts: int
    relaxed: bool
    change: Change
    scale: float
    place: tuple[float, float]
    warp: Warp
    source: str
    sha256: str

    def summary(self) -> dict[str, Any]:
        """Return how the mask was made, ready for JSON; rotation in degrees."""
        return {
            "template": self.source,
            "template_sha256": self.sha256,
            "turn": self.change.turn,
            "rotation": round(math.degrees(self.change.angle), 3),
            "scale": round(self.scale, 4),
            "place": [round(value, 1) for value in self.place],
            "overlap": round(self.overlap, 4),
            "attempts": self.attempts,
            "relaxed": self.relaxed,
        }


def region_of_interest(area: Region, shape: tuple[int, int]) -> Mask:
    """Return where defects may be: bool (H, W), from a mask image or the corners of a polygon.

    area: a mask file of the photos' size, or (x, y) corners in pixels from the top left of the photo.

    Raises:
        DatasetError: the polygon has fewer than three corners, or the region is empty.
        ImageError: the mask file cannot be read or is of another size.
    """
    if isinstance(area, Path):
        region = read_mask(area, shape)
    else:
        if len(area) < 3:
            raise DatasetError(
                f"a polygon of {len(area)} corners encloses nothing", hint="give three (x, y) or more"
            )
        canvas = Pillow.new("1", (shape[1], shape[0]))
        ImageDraw.Draw(canvas).polygon([tuple(corner) for corner in area], fill=1)
        region = np.array(canvas)
    if not region.any():
        raise DatasetError(
            f"the region of interest is empty on a photo of {shape[1]}x{shape[0]}",
            hint="give corners as (x, y) in pixels of the photo, or a mask with white inside",
        )
    return region


def allowed(region: Region | None, photo: Image) -> Mask | None:
    """Return `region_of_interest` on a photo; None where there is no region."""
    return None if region is None else region_of_interest(region, (photo.shape[0], photo.shape[1]))


def region_name(region: Region) -> str:
    """Return a region in words that a manifest can hold."""
    return str(region) if isinstance(region, Path) else json.dumps([list(corner) for corner in region])


def region_digest(region: Region | None) -> str | None:
    """Return the SHA-256 of what a region holds, a file's content where it is one; None for none."""
    if region is None or not isinstance(region, Path):
        return None if region is None else hashlib.sha256(region_name(region).encode()).hexdigest()
    return file_sha256(region)


def named_region(words: str) -> Region:
    """Return the region of these words, the inverse of `region_name`."""
    return [(x, y) for x, y in json.loads(words)] if words.startswith("[[") else Path(words)


def suited(template: Template, shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Return which photos, by their (H, W), a mask goes on; all of them when it suits none.

    A mask that runs from one side of the frame to the other is stretched to the new frame: it needs
    one of similar length.
    """
    spanned = template.spanned

    def suits(shape: tuple[int, int]) -> bool:
        ratios = (shape[axis] / template.mask.shape[axis] for axis in spanned)
        return all(1 / MOST_STRETCH <= ratio <= MOST_STRETCH for ratio in ratios)

    fitting = [index for index, shape in enumerate(shapes) if suits(shape)]
    return fitting or list(range(len(shapes)))


def place(
    template: Template,
    product: Mask,
    known: Habit,
    largest: Points,
    jitter: Jitter,
    rng: np.random.Generator,
    region: Mask | None = None,
    *,
    stray: bool = False,
    rigid: bool = False,
) -> Placed:
    """Return the template, a little changed, at a place on another photo.

    product: bool (H, W), where the product is in the good photo. region: where defects may be; the
    product when not given. largest: of `largest_extent`; a mask is shrunk until it covers no larger
    share of the product's height and width, times the jitter's largest factor, or less than a third.

    Where the type keeps to places, the new one is the template's own with a kernel's noise (a smoothed
    bootstrap); otherwise any place of the region is as likely. A mask that a side of the frame cut off
    lies at that side again, one at the edge of the product goes where the outline runs as it did
    (`outline_places`), and reaches beyond it where a piece is gone (`just_beyond`). Tried until 3/4
    of the mask lie in the region; after 20 attempts anywhere, ever smaller, and with any pixel of the
    mask in the region, as the centre of a bent one may lie outside of it. stray: any place is as
    likely, whatever the type keeps to, and no side of the frame continues what it cut off; but a mask
    at the edge of the product stays at one. rigid: of its own size and shape in pixels, and only turned
    as the jitter's turns say, so that pixels go to pixels.

    Raises:
        NoPlaceError: the region is empty, or the mask does not fit it.
    """
    at_edge = template.at_edge
    outline = filled(product) if at_edge else product
    at_edge = at_edge and not outline.all()
    allowed = product if region is None else region
    if at_edge and template.gone and region is None:
        allowed = product | just_beyond(outline)
    keeps = known.keeps and not stray
    fitting: Points | None = None
    centre = template.centre
    if stray and not at_edge:
        template = _loose(template)
    made = change(template, replace(STILL, turns=jitter.turns) if rigid else jitter, rng)
    limit = 1.0 if rigid else _fit(template, product, made, largest * jitter.scale[1])
    for attempt in range(ATTEMPTS if allowed.any() else 0):
        late = attempt - _AS_IT_IS
        scale = made.scale * limit * _SHRINK ** max(0, late)
        docks = _docks(template, made, allowed) if late < 0 else ()
        stretch = np.ones(2) if rigid else _stretch(template, made, allowed.shape, docks, scale)
        linear = np.diag(stretch) @ made.heading * scale
        if at_edge and late < 0 and fitting is None:  # until it is late, size and heading stay
            fitting = outline_places(template, linear, outline)
            within = fitting[lookup(allowed, fitting)]
            fitting = within if len(within) else fitting
        if keeps and late < 0:
            spot = _own_place(template, product, made, rng.normal(0, known.spread))
        else:
            spot = _anywhere(allowed, rng)
        if late < 0 and fitting is not None and len(fitting):
            spot = _nearest(fitting, spot) if keeps else fitting[rng.integers(len(fitting))]
        if late >= 0:
            spot -= linear @ (_anywhere(template.mask, rng) - template.centre)
        warp = Warp(linear, template.centre, template.reach, spot, made.bend)
        warp = _docked(template, warp, docks, allowed.shape)
        warp = _snapped(warp) if rigid and late < 0 else warp
        share = _share_inside(template, warp, allowed, docks)
        if share < OVERLAP:
            continue
        whole = render(template, warp, (allowed.shape[0], allowed.shape[1]))
        mask = cleaned(whole & allowed)
        if mask.any():
            return Placed(
                mask,
                float((whole & allowed).sum() / whole.sum()),
                attempt + 1,
                late >= 0,
                made,
                scale,
                (float(warp.place[0]), float(warp.place[1])),
                replace(warp, centre=centre),
                template.source,
                template.sha256,
            )
    where = "the product that was found in the photo" if region is None else "the region of interest"
    raise NoPlaceError(
        f"the mask {template.source} fits nowhere on {where}, which has {int(allowed.sum())} pixels",
        hint="give a larger region of interest, or see in the photo what stands out of its background",
    )


def _loose(template: Template) -> Template:
    """Return a template with a border of one pixel around its frame, so that no side cuts it off."""
    mask, product = (np.pad(one, 1) for one in (template.mask, template.product))
    return replace(template, mask=mask, product=product)


def _fit(template: Template, product: Mask, made: Change, largest: Points) -> float:
    """Return the factor that keeps a mask within the largest share seen of a product."""
    first, last = bounds(template.mask)
    axes = np.abs(made.turning)
    if not product.any():
        return 1.0
    box = bounds(product)
    room = np.maximum(axes @ largest, SMALL) * (box[1] - box[0])
    size = axes @ (last - first) * made.scale
    free = [axis for axis in (0, 1) if int(axes[axis].argmax()) not in template.spanned]
    return min([1.0, *(float(room[axis] / size[axis]) for axis in free)])


def _docks(template: Template, made: Change, allowed: Mask) -> tuple[Side, ...]:
    """Return the sides of the new frame at which the mask has to lie, as far as they are allowed."""
    reached = {
        (0, -1): allowed[0],
        (0, 1): allowed[-1],
        (1, -1): allowed[:, 0],
        (1, 1): allowed[:, -1],
    }
    sides = (turned_side(side, made.heading) for side in template.sides)
    return tuple(side for side in sides if reached[side].any())


def _stretch(
    template: Template, made: Change, shape: tuple[int, ...], docks: tuple[Side, ...], scale: float
) -> Points:
    """Return the factors along both axes that make a mask from side to side reach both again."""
    factors = np.ones(2)
    for axis in (0, 1):
        if {(axis, -1), (axis, 1)} <= set(docks):
            source = int(np.abs(made.turning[axis]).argmax())
            factors[axis] = shape[axis] / (template.mask.shape[source] * scale)
    return factors


def _own_place(template: Template, product: Mask, made: Change, noise: Points) -> Points:
    share = made.heading @ in_box(template.centre, template) + noise
    first, last = bounds(product)
    spot: Points = first + (share + 0.5) * (last - 1 - first)
    return spot


def _nearest(places: Points, spot: Points) -> Points:
    nearest: Points = places[((places - spot) ** 2).sum(1).argmin()]
    return nearest


def _anywhere(allowed: Mask, rng: np.random.Generator) -> Points:
    pixels = np.flatnonzero(allowed)
    row, column = divmod(int(pixels[rng.integers(len(pixels))]), allowed.shape[1])
    return np.array([row, column], np.float64)


def _docked(template: Template, warp: Warp, docks: tuple[Side, ...], shape: tuple[int, ...]) -> Warp:
    """Return the warp moved so that the cut edges of the mask lie on the sides of the frame."""
    moves: dict[int, list[float]] = {0: [], 1: []}
    for side in template.sides:
        axis, end = side
        towards = turned_side(side, warp.linear)
        if towards in docks:
            cut = warp.centre.copy()
            cut[axis] = template.mask.shape[axis] - 0.5 if end > 0 else -0.5
            border = shape[towards[0]] - 0.5 if towards[1] > 0 else -0.5
            moves[towards[0]].append(border - warp.forward(cut)[towards[0]])
    move = np.array([np.mean(moves[axis]) if moves[axis] else 0.0 for axis in (0, 1)])
    return Warp(warp.linear, warp.centre, warp.reach, warp.place + move, warp.bend)


def _snapped(warp: Warp) -> Warp:
    """Return a warp that only turns, moved by less than a pixel so that it takes pixels to pixels."""
    corner = warp.place - warp.linear @ warp.centre
    return replace(warp, place=warp.place + np.rint(corner) - corner)


def _share_inside(template: Template, warp: Warp, allowed: Mask, docks: tuple[Side, ...]) -> float:
    """Return the share of the mask that goes into the region; what a side cuts off is not counted."""
    points = warp.forward(some_pixels(template.mask))
    for axis, end in docks:
        keep = np.minimum if end > 0 else np.maximum
        points[:, axis] = keep(points[:, axis], allowed.shape[axis] - 1 if end > 0 else 0)
    return float(lookup(allowed, points).mean())
