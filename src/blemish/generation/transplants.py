"""A real defect moved as it is: its own pixels, in their own light, turned, scaled and bent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from blemish.generation.crops import Painting
from blemish.synthesis.arrays import check_image, check_same_size

if TYPE_CHECKING:
    from blemish.generation.warps import Warp
    from blemish.synthesis.arrays import Image, Mask


def transplanted(photo: Image, mask: Mask, source: Image, warp: Warp) -> Painting:
    """Return a photo with the pixels of another under a mask.

        out(y) = source(warp.backward(y)) inside the mask, photo(y) outside

    photo, source: uint8 (H, W, 3), of any two sizes; mask: bool, of the photo's size; warp: from the
    source to the photo. Between pixels linear, shrunk without aliasing; beyond the source's frame it is
    mirrored. Outside the mask the photo stays as it is, bit for bit.

    Raises:
        ImageError: an array is no photo, or the mask is of another size.
    """
    check_image(photo)
    check_image(source)
    check_same_size(photo, mask, "mask")
    shrink = 1 / float(np.linalg.svd(warp.linear, compute_uv=False).min())
    blur = np.sqrt(max(shrink**2 - 1, 0)) / 2
    pixels = np.argwhere(mask)
    places = warp.backward(pixels.astype(np.float64)).T
    result = photo.copy()
    for channel in range(3):
        plane = source[..., channel].astype(np.float32)
        smooth = ndimage.gaussian_filter(plane, blur) if blur > 0 else plane
        values = ndimage.map_coordinates(smooth, places, order=1, mode="mirror")
        result[pixels[:, 0], pixels[:, 1], channel] = np.rint(values.clip(0, 255))
    return Painting(result, mask.copy())
