"""From a map to one number, and from a photo's content to its noise."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from blemish.runtime import generator

TOP_PIXELS = 50
"""So many pixels of a 256 x 256 map make the image score; other sizes in proportion."""

_FIELD_MARGIN = 256


def image_score(values: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> float:
    """Return the mean of the K largest values on the photo (DiffusionAD, section 5.1).

        K = round(50 * H * W / 256^2), at least 1

    values: float32 (H, W); valid: bool (H, W), False on padding. H and W count padding, so that K does
    not depend on a photo's aspect.
    """
    inside = values[valid]
    count = min(max(1, round(TOP_PIXELS * values.size / 256**2)), inside.size)
    largest = np.partition(inside, inside.size - count)[inside.size - count :]
    return float(largest.mean(dtype=np.float64))


class NoiseField:
    """Noise that an image's own content chooses, so that the same image always gets the same score.

    One Gaussian field is drawn once; the image's hash chooses the window that is laid over it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        side = size + _FIELD_MARGIN
        self._field = torch.randn(2, 3, side, side, generator=generator(0, "inference noise"))

    def windows(self, image: npt.NDArray[np.uint8]) -> Tensor:
        """Return the noise of an image (S, S, 3), float32 (2, 3, S, S): fine step, anchor step."""
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=4).digest()
        pair = [
            plane[:, top : top + self.size, left : left + self.size]
            for plane, top, left in zip(self._field, digest[:2], digest[2:], strict=True)
        ]
        return torch.stack(pair)
