"""From a map to one number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TOP_PIXELS = 50
"""So many pixels of a 256 x 256 map make the image score; other sizes in proportion."""


def top_count(area: int) -> int:
    """Return how many pixels of a map of this area, padding included, make the image score.

    K = round(50 * H * W / 256^2), at least 1
    """
    return max(1, round(TOP_PIXELS * area / 256**2))


def image_score(values: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> float:
    """Return the mean of the K largest values on the photo (DiffusionAD, section 5.1).

    values: float32 (H, W); valid: bool (H, W), False on padding. K as in `top_count`: H and W count
    padding, so that it does not depend on a photo's aspect.
    """
    inside = values[valid]
    count = min(top_count(values.size), inside.size)
    largest = np.partition(inside, inside.size - count)[inside.size - count :]
    return float(largest.mean(dtype=np.float64))
