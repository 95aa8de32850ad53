"""A real defect moved as it is: its own pixels, in their own light, turned where parts may be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from blemish.generation.crops import Painting
from blemish.synthesis.arrays import check_image, check_same_size

if TYPE_CHECKING:
    from blemish.generation.warps import Warp
    from blemish.synthesis.arrays import Image, Mask

_CUT_OFF = 4.5
"""SciPy's Gaussians end before so many deviations."""

_SPLINE = 12
"""What lies so many pixels away moves a cubic spline by less than 1e-6 of it."""


def transplanted(photo: Image, mask: Mask, source: Image, warp: Warp) -> Painting:
    """Return a photo with the pixels of another under a mask.

        out(y) = source(warp.backward(y)) inside the mask, photo(y) outside

    photo, source: uint8 (H, W, 3), of any two sizes; mask: bool, of the photo's size; warp: from the
    source to the photo. The very pixels where the warp takes pixels to pixels. Between them a cubic
    spline, as straight lines would blur the grain; shrunk without aliasing; beyond the source's frame
    it is mirrored. Outside the mask the photo stays as it is, bit for bit.

    Raises:
        ImageError: an array is no photo, or the mask is of another size.
    """
    check_image(photo)
    check_image(source)
    check_same_size(photo, mask, "mask")
    shrink = 1 / float(np.linalg.svd(warp.linear, compute_uv=False).min())
    blur = math.sqrt(max(shrink**2 - 1, 0)) / 2
    places = warp.backward(np.argwhere(mask).astype(np.float64))
    spans = [_span(places[:, axis], source.shape[axis], blur) for axis in (0, 1)]
    near = source[spans[0], spans[1]].astype(np.float32)
    smooth = ndimage.gaussian_filter(near, (blur, blur, 0)) if blur > 0 else near
    within = (places - [span.start for span in spans]).T
    values = [
        ndimage.map_coordinates(plane, within, order=3, mode="mirror")
        for plane in np.moveaxis(smooth, 2, 0)
    ]
    result = photo.copy()
    result[mask] = np.rint(np.stack(values, axis=1).clip(0, 255))
    return Painting(result, mask.copy())


def _span(places: npt.NDArray[np.float64], length: int, blur: float) -> slice:
    """Return the part of an axis that decides what some places show; all where one lies beyond it."""
    if places.min() < 0 or places.max() > length - 1:
        return slice(0, length)
    margin = math.ceil(_CUT_OFF * blur) + _SPLINE
    return slice(max(math.floor(places.min()) - margin, 0), math.ceil(places.max()) + margin + 1)
