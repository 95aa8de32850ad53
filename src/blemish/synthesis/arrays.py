"""The two arrays that travel through this room, and the check that they belong together."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from blemish.errors import ImageError

Image: TypeAlias = npt.NDArray[np.uint8]
"""uint8 RGB (H, W, 3)."""

Mask: TypeAlias = npt.NDArray[np.bool_]
"""bool (H, W), True = inside."""

Field: TypeAlias = npt.NDArray[np.float32]
"""float32 (H, W)."""


def check_image(image: Image) -> None:
    """Return nothing for a uint8 RGB photo.

    Raises:
        ImageError: the array is anything else.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(
            f"expected a uint8 RGB image (H, W, 3), got {image.dtype} {image.shape}",
            hint="read photos with blemish.data, or convert to RGB and to 0..255 first",
        )


def check_same_size(image: Image, other: npt.NDArray[np.generic], name: str) -> None:
    """Return nothing when the other array covers the same pixels as the photo.

    Raises:
        ImageError: the heights or widths differ.
    """
    if other.shape[:2] != image.shape[:2]:
        raise ImageError(
            f"expected a {name} of {image.shape[:2]} pixels, got {other.shape[:2]}",
            hint=f"resize the photo and its {name} together",
        )
