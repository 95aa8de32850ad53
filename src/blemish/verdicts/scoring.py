"""From a map to one number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TOP_PIXELS = 50
"""So many pixels make the image score where a network sees 256 x 256; other squares in proportion."""


def top_count(area: int) -> int:
    """Return how many pixels make the image score where a network's square has this area.

    K = round(50 * H * W / 256^2), at least 1
    """
    return max(1, round(TOP_PIXELS * area / 256**2))


def image_score(values: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], side: int) -> float:
    """Return the mean of the K largest values on the photo (DiffusionAD, section 5.1).

    values: float32 (H, W); valid: bool (H, W), False on padding; side: of the network's squares. K as
    in `top_count` of one square, however many of them cover the photo and whatever its aspect: a small
    defect counts as much on a large photo as on a small one.
    """
    inside = values[valid]
    count = min(top_count(side**2), inside.size)
    largest = np.partition(inside, inside.size - count)[inside.size - count :]
    return float(largest.mean(dtype=np.float64))
