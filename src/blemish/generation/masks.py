"""Masks to draw from: where the real defects of a type were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from blemish.data import read_mask
from blemish.errors import DatasetError
from blemish.runtime import file_sha256
from blemish.synthesis.arrays import Mask

Points: TypeAlias = npt.NDArray[np.float64]
"""float64 (..., 2): rows and columns in pixels; the middle of the first pixel is (0, 0)."""

Side: TypeAlias = tuple[int, int]
"""A side of the frame: the axis that crosses it (0 = rows), and -1 for its start, 1 for its end."""

CRUMB = 0.01
"""Parts smaller than this share of the largest are left-overs of drawing, not defects."""

EDGE = 0.02
"""Nearer to the edge of the product than this share of its smaller side is at the edge."""


@dataclass(frozen=True, slots=True)
class Template:
    """One mask to draw from.

    mask: bool (H, W), not empty. product: bool (H, W), where the product was in the same photo, the
    whole frame for a surface. source, sha256: the mask's file, for the manifest.

    Raises:
        DatasetError: the mask is empty, or the two differ in size.
    """

    mask: Mask
    product: Mask
    source: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.mask.any():
            raise DatasetError(
                f"the mask {self.source or '(unnamed)'} is empty: it marks no defect",
                hint="draw the defect, or leave the photo out",
            )
        if self.mask.shape != self.product.shape:
            raise DatasetError(
                f"mask and product differ in size: {self.mask.shape} and {self.product.shape}",
                hint="take both from the same photo",
            )

    @property
    def centre(self) -> Points:
        """The mask's centroid, (2,) in pixels."""
        centre: Points = np.argwhere(self.mask).mean(0)
        return centre

    @property
    def reach(self) -> Points:
        """How far the mask reaches from its centroid along each axis, (2,) in pixels, >= 1."""
        away: Points = np.abs(np.argwhere(self.mask) - self.centre).max(0)
        return np.maximum(away, 1.0)

    @property
    def extent(self) -> Points:
        """Height and width of the mask as shares of the product's, (2,) > 0.

        A mask that lies beside the product counts to it.
        """
        of_mask, of_product = bounds(self.mask), bounds(self.mask | self.product)
        share: Points = (of_mask[1] - of_mask[0]) / (of_product[1] - of_product[0])
        return share

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides of the frame that cut the mask off."""
        edges = {
            (0, -1): self.mask[0],
            (0, 1): self.mask[-1],
            (1, -1): self.mask[:, 0],
            (1, 1): self.mask[:, -1],
        }
        return tuple(side for side, pixels in edges.items() if pixels.any())

    @property
    def spanned(self) -> tuple[int, ...]:
        """The axes along which the mask runs from one side of the frame to the other."""
        return tuple(axis for axis in (0, 1) if {(axis, -1), (axis, 1)} <= set(self.sides))

    @property
    def whole(self) -> Mask:
        """The product as it was without the defect, and without its holes: bool (H, W)."""
        return filled(self.product | self.mask)

    @property
    def at_edge(self) -> bool:
        """Whether the mask reaches the edge of a product that does not fill the frame."""
        whole = self.whole
        near = max(1, round(EDGE * shorter_side(whole)))
        around = ndimage.binary_dilation(self.mask, np.ones((3, 3)), iterations=near)
        return not bool(whole[around].all())

    @property
    def gone(self) -> bool:
        """Whether most of the mask lies where no product was found: a piece of it is missing."""
        return bool((self.mask & ~self.product).sum() > self.mask.sum() / 2)


def read_templates(
    files: Iterable[Path], products: Mapping[tuple[int, int], Mask] | None = None
) -> tuple[Template, ...]:
    """Return masks that were given as files of their own.

    products: by (H, W), where products are in photos of that size; elsewhere they fill the frame.

    Raises:
        DatasetError: a mask is empty, or there is none at all.
        ImageError: a file cannot be read.
    """
    templates = []
    for path in files:
        mask = read_mask(path)
        shape = (mask.shape[0], mask.shape[1])
        product = (products or {}).get(shape, np.broadcast_to(np.True_, shape))
        templates.append(Template(mask, product, str(path), file_sha256(path)))
    if not templates:
        raise DatasetError("there is no mask to draw from", hint="give one at least")
    return tuple(templates)


def largest_extent(templates: Sequence[Template]) -> Points:
    """Return the largest height and width that any mask has of its product, (2,)."""
    largest: Points = np.max([template.extent for template in templates], axis=0)
    return largest


def cleaned(mask: Mask) -> Mask:
    """Return the mask without parts smaller than 1 % of its largest; never empty unless it was."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        return mask
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    kept: Mask = (areas >= CRUMB * areas.max())[parts] & mask
    return kept


def filled(product: Mask) -> Mask:
    """Return a product without its holes."""
    whole: Mask = ndimage.binary_fill_holes(product)
    return whole


def shorter_side(mask: Mask) -> float:
    """Return the shorter side of the box around a non-empty mask, in pixels."""
    return float(np.ptp(bounds(mask), axis=0).min())


def bounds(mask: Mask) -> npt.NDArray[np.intp]:
    """Return the first and one past the last row and column of a non-empty mask, (2, 2)."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return np.array([[rows[0], columns[0]], [rows[-1] + 1, columns[-1] + 1]])
