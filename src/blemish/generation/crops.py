"""Crop and paste: a square at the photo's own resolution goes in, only the defect comes back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from scipy import ndimage

from blemish.data import shrink_mask
from blemish.errors import ConfigError, ImageError
from blemish.generation.masks import bounds
from blemish.synthesis.arrays import Image, Mask, check_image, check_same_size

MARGIN = 16
"""The least surroundings that the network sees on each side of a defect, in its own pixels."""


class Painting(NamedTuple):
    """A generated pair. image: uint8 RGB (H, W, 3); mask: bool (H, W), what was really painted."""

    image: Image
    mask: Mask


@dataclass(frozen=True, slots=True)
class Window:
    """A square of a photo. top, left: of its first pixel, possibly outside; side: photo pixels.

    size: what the network sees of it, pixels; equal to the side wherever the mask fits.
    """

    top: int
    left: int
    side: int
    size: int

    @property
    def scale(self) -> float:
        """Network pixels per photo pixel, at most 1."""
        return self.size / self.side

    def cut(self, photo: Image) -> Image:
        """Return what the network sees, uint8 (size, size, 3); the photo is mirrored at its edges."""
        check_image(photo)
        rows, columns = (
            mirrored(np.arange(start, start + self.side), length)
            for start, length in zip((self.top, self.left), photo.shape[:2], strict=True)
        )
        return _resized(photo[np.ix_(rows, columns)], self.size)

    def cut_mask(self, mask: Mask) -> Mask:
        """Return the mask as the network sees it, bool (size, size); nothing lies beyond the photo.

        Shrunk by area: never empty where the window holds a part of the mask.
        """
        whole = np.zeros((self.side, self.side), np.bool_)
        inner, outer = self._both(mask.shape)
        whole[inner] = mask[outer]
        return whole if self.size == self.side else shrink_mask(whole, self.size, self.size)

    def _both(self, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return where window and photo overlap: in the window, and in the photo."""
        spans = [
            (max(start, 0), max(min(start + self.side, length), 0), start)
            for start, length in zip((self.top, self.left), shape, strict=False)
        ]
        (up, down, top), (first, last, left) = spans
        inner = (slice(up - top, max(down, up) - top), slice(first - left, max(last, first) - left))
        return inner, (slice(up, max(down, up)), slice(first, max(last, first)))


def window_around(mask: Mask, size: int, margin: int = MARGIN) -> Window:
    """Return the square to work on: `size` photo pixels where the mask fits with its margin.

        side = max(size, ceil(longest * size / (size - 2 * margin)))

    longest: the longer side of the mask's box. So the margin is one of network pixels. The square
    is centred on the mask and moved into the photo as far as the photo is large enough.

    Raises:
        ConfigError: the margin leaves no room for a mask.
        ImageError: the mask is empty.
    """
    if size < 1 or not 0 <= margin < size / 2:
        raise ConfigError(
            f"expected a margin in [0, {size / 2:g}) of a square of {size} pixels, got {margin}",
            hint="16 suits squares from 128 pixels on",
        )
    if not mask.any():
        raise ImageError("cannot cut a square around an empty mask", hint="draw another mask")
    first, last = bounds(mask)
    longest = int((last - first).max())
    side = max(size, math.ceil(longest * size / (size - 2 * margin)))
    top, left = (_start(int(first[axis]), int(last[axis]), side, mask.shape[axis]) for axis in (0, 1))
    return Window(top, left, side, size)


def paste(photo: Image, made: Image, mask: Mask, window: Window, feather: int = 0) -> Painting:
    """Return the photo with what was made inside the mask, and the mask really painted.

        out = photo + w * (enlarged(made - cut(photo))),    w = 0 outside the mask

    At the photo's own resolution and without a feather this is `made` inside the mask; in a scaled
    window the grain too fine for the network stays the photo's own. Outside the mask the result equals
    the photo bit for bit. The label is the part of the mask inside the window and the photo.

    photo: uint8 (H, W, 3); made: uint8 (size, size, 3), of `window.cut(photo)`; mask: bool (H, W).
    feather: pixels over which the change grows from the mask's edge inwards; where a part is thinner,
    over half its width.

    Raises:
        ImageError: the arrays do not belong together.
    """
    check_image(photo)
    check_image(made)
    check_same_size(photo, mask, "mask")
    if made.shape[:2] != (window.size, window.size):
        raise ImageError(
            f"expected a square of {window.size} pixels to paste, got {made.shape[:2]}",
            hint="paste what the network made of window.cut(photo)",
        )
    inner, outer = window._both(photo.shape)
    label = np.zeros_like(mask)
    label[outer] = mask[outer]
    change = _enlarged(made.astype(np.float32) - window.cut(photo), window.side)[inner]
    result = photo.copy()
    painted = label[outer]
    weight = _weight(painted, feather)[..., np.newaxis]
    changed = np.rint(photo[outer] + weight * change).clip(0, 255).astype(np.uint8)
    result[outer][painted] = changed[painted]
    return Painting(result, label)


def _start(first: int, last: int, side: int, length: int) -> int:
    """Return where a span of `side` begins that is centred on [first, last) and inside if it fits."""
    centred = (first + last - side) // 2
    if side >= length:
        return (length - side) // 2
    return min(max(centred, 0), length - side)


def mirrored(places: npt.NDArray[np.intp], length: int) -> npt.NDArray[np.intp]:
    """Return which of a row's pixels each place shows: beyond its ends the row runs back and forth."""
    period = max(2 * (length - 1), 1)
    within = places % period
    return np.minimum(within, period - within)


def _resized(photo: Image, size: int) -> Image:
    if photo.shape[0] == size:
        return np.ascontiguousarray(photo)
    small = Pillow.fromarray(photo).resize((size, size), Pillow.Resampling.BOX)
    return np.asarray(small)


def _enlarged(change: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    if change.shape[0] == side:
        return change
    planes = [
        np.asarray(Pillow.fromarray(plane).resize((side, side), Pillow.Resampling.BICUBIC))
        for plane in np.moveaxis(change, 2, 0)
    ]
    return np.stack(planes, axis=-1)


def depth(mask: Mask) -> npt.NDArray[np.float64]:
    """Return how far inside a mask each pixel lies, pixels; 0 outside.

    Beyond the frame a defect goes on: that is no edge.
    """
    inside: npt.NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))
    return inside[1:-1, 1:-1]


def _weight(mask: Mask, feather: int) -> npt.NDArray[np.float32]:
    """Return float32 (H, W): 0 outside, growing to 1 over `feather` pixels from the edge inwards."""
    if feather <= 0:
        return mask.astype(np.float32)
    deep = depth(mask)
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    deepest = np.concatenate([[1.0], ndimage.maximum(deep, parts, np.arange(1, count + 1))])
    ramp = np.minimum(feather + 1, deepest[parts])
    weight: npt.NDArray[np.float32] = np.minimum(deep / ramp, 1).astype(np.float32)
    return weight
