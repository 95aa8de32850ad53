"""Where the product is, found without a network, from the colours at the border of the photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from scipy import ndimage

from blemish.errors import DatasetError
from blemish.synthesis.arrays import Image, Mask, check_image

ProductKind = Literal["object", "texture"]

WORKING_SIDE = 128
BORDER = 4
BORDER_COLOURS = 3
LLOYD_ROUNDS = 8
CLOSING = 4
OPENING = 2
AREA = (0.05, 0.95)
MOST_BORDER = 0.3
"""A product may reach the edge of the photo, but not cover more than this share of the border."""

SEPARATION = 0.75
"""Otsu's between-class share of the variance for distances that are spread evenly, that is for no
two classes at all: a product must stand out better than that."""

OBJECT_SHARE = 0.75
"""So many photos must show a plausible product before we speak of an object."""

FAINT = 8.0
"""Grey levels: no difference from the border smaller than this is taken for the product."""


def foreground(image: Image) -> Mask:
    """Return where the product is: bool (H, W); the full frame when no product stands out.

    Seeds are the pixels whose colour is farther from the few colours of the border than Otsu's
    threshold; the product is all that connects to a seed and differs from the border by more than
    the border does from itself (so the dark juice belongs to the bottle with the bright label).
    Specks are removed and holes are filled. The full frame is returned when the two classes are no
    better separated than evenly spread values would be, or when the product covers less than 5 % or
    more than 95 % of the photo, or more than 30 % of its border.

    Raises:
        ImageError: the photo is not uint8 RGB.
    """
    check_image(image)
    found = _stands_out(image)
    if found is None:
        return np.ones(image.shape[:2], np.bool_)
    size = (image.shape[1], image.shape[0])
    soft = Pillow.fromarray(found.astype(np.float32)).resize(size, Pillow.Resampling.BILINEAR)
    return np.asarray(soft) > 0.5


def product_kind(images: Sequence[Image]) -> ProductKind:
    """Return "object" when a product stands out from its background in most of these good photos.

    images: a handful of good photos (8 are plenty). "texture" when the surface fills the frame, so
    that in more than a quarter of the photos nothing stands out.

    Raises:
        DatasetError: there are no photos.
    """
    if not images:
        raise DatasetError("expected some good photos, got none", hint="give at least one")
    seen = sum(_stands_out(image) is not None for image in images)
    return "object" if seen >= OBJECT_SHARE * len(images) else "texture"


def random_region(height: int, width: int, rng: np.random.Generator) -> Mask:
    """Return a random rectangle or ellipse: bool (H, W), never empty.

    Each side is U(0.3, 1) of the frame's, and the shape lies inside the frame: the "random part of
    the whole image" that takes the place of the foreground on textures (DiffusionAD, 4.4).
    """
    tall = max(round(height * rng.uniform(0.3, 1)), 1)
    wide = max(round(width * rng.uniform(0.3, 1)), 1)
    top = int(rng.integers(0, height - tall + 1))
    left = int(rng.integers(0, width - wide + 1))
    y, x = np.ogrid[:height, :width]
    down, across = (2 * (y - top) + 1) / tall - 1, (2 * (x - left) + 1) / wide - 1
    region: Mask = (
        (abs(down) <= 1) & (abs(across) <= 1)
        if rng.random() < 0.5
        else down**2 + across**2 <= 1
    )  # fmt: skip
    return region


def _stands_out(image: Image) -> Mask | None:
    """Return the product at working size, or None when the guess is implausible."""
    factor = min(WORKING_SIDE / min(image.shape[:2]), 1)
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    small = Pillow.fromarray(image).resize(size, Pillow.Resampling.BOX)
    colours = ndimage.gaussian_filter(np.asarray(small, np.float32), (1, 1, 0))
    distance = _distance_to_border(colours)
    threshold = otsu(distance)
    seeds = distance > threshold
    if separation(distance, seeds) <= SEPARATION:
        return None
    scatter = 1.5 * float(np.percentile(_border(distance).astype(np.float64), 95))
    reached = ndimage.binary_propagation(seeds, mask=distance > min(threshold, max(FAINT, scatter)))
    # The soft rim of a bright product lies above the lower threshold too: only what is thicker counts.
    found = seeds | ndimage.binary_opening(reached & ~seeds, _brush(OPENING))
    padded = ndimage.binary_closing(np.pad(found, CLOSING), _brush(CLOSING))
    found = padded[CLOSING:-CLOSING, CLOSING:-CLOSING]
    found = ndimage.binary_opening(ndimage.binary_fill_holes(found), _brush(OPENING))
    found = _without_crumbs(found)
    area, border = float(found.mean()), float(_border(found).mean())
    plausible = AREA[0] <= area <= AREA[1] and border <= MOST_BORDER
    return found if plausible else None


def _distance_to_border(colours: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return each pixel's distance to the nearest of a few colours that make up the border."""
    border = _border(colours)
    # The clusters start on the border's own quantiles of brightness, so that no seed is needed.
    order = np.argsort(border.sum(axis=1), kind="stable")
    places = np.linspace(0, len(order) - 1, 2 * BORDER_COLOURS + 1).astype(int)[1::2]
    centres = border[order[places]]
    for _ in range(LLOYD_ROUNDS):
        nearest = ((border[:, np.newaxis] - centres) ** 2).sum(axis=2).argmin(axis=1)
        for index in set(nearest.tolist()):
            centres[index] = border[nearest == index].mean(axis=0)
    gaps = colours[..., np.newaxis, :] - centres
    distance: npt.NDArray[np.float32] = np.sqrt((gaps**2).sum(axis=-1).min(axis=-1))
    return distance


def otsu(values: npt.NDArray[np.float32], bins: int = 256) -> float:
    """Return the threshold that separates the values into two classes best (Otsu, 1979).

        max over t of  w0(t) * w1(t) * (mean0(t) - mean1(t))^2

    The threshold is the upper edge of a histogram bin; a constant array gives its value.
    """
    if values.min() == values.max():
        return float(values.max())
    # The first bin holds the minimum and the last the maximum, so neither class is ever empty.
    counts, edges = np.histogram(values.astype(np.float64), bins)
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    mass = np.cumsum(counts * (edges[:-1] + edges[1:]) / 2)
    spread = below * above * (mass[:-1] / below - (mass[-1] - mass[:-1]) / above) ** 2
    return float(edges[int(spread.argmax()) + 1])


def separation(values: npt.NDArray[np.float32], upper: Mask) -> float:
    """Return the between-class share of the variance of a split in two (Otsu, 1979): eta in [0, 1].

        eta = w0 * w1 * (mean1 - mean0)^2 / variance

    0 when one class is empty.
    """
    share = float(upper.mean())
    if share in (0.0, 1.0):
        return 0.0
    gap = float(values[upper].mean() - values[~upper].mean())
    return share * (1 - share) * gap**2 / float(values.var())


def _without_crumbs(found: Mask) -> Mask:
    """Return the regions that are at least a tenth of the largest one."""
    labels, count = ndimage.label(found)
    if count == 0:
        return found
    areas = np.bincount(labels.ravel())[1:]
    kept = np.flatnonzero(areas >= 0.1 * areas.max()) + 1
    return np.isin(labels, kept)


def _brush(radius: int) -> Mask:
    """Return a disc: bool (2r + 1, 2r + 1)."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc: Mask = x**2 + y**2 <= radius**2 + radius
    return disc


def _border(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return the outermost pixels as a list: (N, ...)."""
    ring = np.ones(array.shape[:2], np.bool_)
    ring[BORDER:-BORDER, BORDER:-BORDER] = False
    return array[ring]
