"""The seam of a synthetic defect: how an appearance enters a photo (DiffusionAD, Eq. 12)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blemish.errors import ConfigError
from blemish.synthesis.arrays import Image, check_image, check_same_size

STRIPS = 8


def overlay(
    image: Image,
    appearance: Image,
    mask: npt.NDArray[np.bool_] | npt.NDArray[np.float32],
    opacity: float,
) -> Image:
    """Return the photo with the appearance blended in under the mask (DiffusionAD, Eq. 12).

        S = (1 - M) * N + (1 - beta) * M * A + beta * M * N

    image N, appearance A: uint8 RGB (H, W, 3); mask M: bool, or float in [0, 1], (H, W); opacity
    beta in [0, 1]: the share of the photo that shines through. Where M = 0 the result equals the
    photo bit for bit; an empty mask, or beta = 1, returns the photo.

    Raises:
        ImageError: the arrays differ in size or the photo is not uint8 RGB.
        ConfigError: the opacity is outside [0, 1].
    """
    check_image(image)
    check_same_size(image, appearance, "appearance")
    check_same_size(image, mask, "mask")
    if not 0 <= opacity <= 1:
        raise ConfigError(
            f"expected an opacity between 0 and 1, got {opacity}",
            hint="0 pastes the appearance, 1 leaves the photo as it is",
        )
    inside = mask > 0
    normal = image[inside].astype(np.float32)
    weight = (1 - opacity) * mask[inside].astype(np.float32)[:, np.newaxis]
    blended = normal + weight * (appearance[inside].astype(np.float32) - normal)
    result = image.copy()
    result[inside] = np.rint(blended)
    return result


def self_shuffle(image: Image, rng: np.random.Generator) -> Image:
    """Return the photo cut into 8 x 8 tiles that have moved (DiffusionAD, self-augmentation).

    Columns: the even strips are shuffled, the odd strips are shuffled, evens come first. Rows: the
    same, after a shuffle of all strips. Every pixel of the photo is kept, and appears once.
    """
    columns = _interleave(rng, np.arange(STRIPS))
    rows = _interleave(rng, rng.permutation(STRIPS))
    return image[_pixels(image.shape[0], rows)][:, _pixels(image.shape[1], columns)]


def _interleave(rng: np.random.Generator, strips: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
    """Return the even-placed strips in random order, then the odd-placed ones."""
    return np.concatenate([rng.permutation(strips[::2]), rng.permutation(strips[1::2])])


def _pixels(length: int, order: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
    """Return the pixel indices of the strips in this order; strips differ by one pixel at most."""
    strips = np.array_split(np.arange(length), STRIPS)
    return np.concatenate([strips[place] for place in order])
