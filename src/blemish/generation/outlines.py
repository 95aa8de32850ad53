"""Where on a product's outline a mask at its edge fits: a chip of a rim goes to a rim."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from blemish.generation.habits import lookup
from blemish.generation.masks import EDGE, Points, Template, bounds, shorter_side
from blemish.synthesis.arrays import Mask

ALIKE = 0.03
"""Places fit as well as the best where they agree with it but for this share of the surroundings."""

RIM = 2 * EDGE

_AROUND = 0.25
_POINTS, _PLACES = 24, 2000


def outline_places(template: Template, linear: Points, product: Mask) -> Points:
    """Return where the mask's centre may go so that the outline runs through it as it did, (n, 2).

        agreement(y) = share of x around the mask with whole(x) = product(y + linear (x - centre))

    (ours). whole: of the template; product: bool (H, W), its holes filled. Beyond the frame both go on
    as they are at its sides, which are no edge. Those are returned whose agreement is at most 0.03
    below the largest; where a piece is gone, moved outwards by 2 % of the product's shorter side, so
    that nothing of it stays beyond the mask. None where the product is empty.
    """
    if not product.any():
        return np.empty((0, 2))
    first, last = bounds(template.mask)
    margin = _AROUND * (last - first)
    axes = np.linspace(first - margin, last - 1 + margin, _POINTS).T
    around = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = _continued(template.whole, around)
    away = (around - template.centre) @ linear.T
    reach = np.abs((np.argwhere(template.mask) - template.centre) @ linear.T).max(0)
    spots = _near_edge(product, reach)
    agreement = (_continued(product, spots[:, np.newaxis] + away) == inside).mean(1)
    fitting: Points = spots[agreement >= agreement.max() - ALIKE]
    if template.gone:
        fitting += outwards(away, inside) * EDGE * shorter_side(product)
    return fitting


def outwards(away: Points, inside: npt.NDArray[np.bool_]) -> Points:
    """Return the unit vector from the places inside to those outside, (2,); 0 where all are one."""
    if inside.all() or not inside.any():
        return np.zeros(2)
    towards: Points = away[~inside].mean(0) - away[inside].mean(0)
    return towards / max(float(np.linalg.norm(towards)), 1e-9)


def just_beyond(outline: Mask) -> Mask:
    """Return what lies around a product without its holes, where a missing piece of it shows.

    As far as 4 % of its shorter side: facets in the shade are easily taken for background. Nothing lies
    around an empty one.
    """
    if not outline.any():
        return outline
    steps = max(1, round(RIM * shorter_side(outline)))
    around: Mask = ndimage.binary_dilation(outline, np.ones((3, 3)), iterations=steps) & ~outline
    return around


def _continued(mask: Mask, points: Points) -> Mask:
    """Return the mask at points (..., 2); beyond the frame what it is at the frame."""
    return lookup(mask, points.clip(0, np.array(mask.shape) - 1))


def _near_edge(product: Mask, reach: Points) -> Points:
    """Return pixels of the product no further from its edge than a mask reaches, evenly chosen."""
    size = np.maximum(np.ceil(reach).astype(int), 1) * 2 + 1
    core = ndimage.minimum_filter(product, size=tuple(size), mode="nearest")
    pixels = np.argwhere(product & ~core).astype(np.float64)
    if not len(pixels):
        pixels = np.argwhere(product).astype(np.float64)
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), _PLACES)).round().astype(int)
    evenly: Points = pixels[chosen]
    return evenly
