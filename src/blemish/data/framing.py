"""The geometry between a photo of any size and the network's square; aspect is never changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from blemish.errors import ConfigError, ImageError


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a photo lies in its square, in pixels.

    height, width: the photo's own size. scale: square pixels per photo pixel, before rounding.
    top, left, inner_height, inner_width: the rectangle of the square that holds the photo; the
    rest is padding. size: the square's side.
    """

    height: int
    width: int
    scale: float
    top: int
    left: int
    inner_height: int
    inner_width: int
    size: int

    def valid(self) -> npt.NDArray[np.bool_]:
        """Return bool (size, size), True where the square shows the photo and not padding."""
        inside = np.zeros((self.size, self.size), np.bool_)
        inside[self._inner] = True
        return inside

    def repeated(self, plane: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return a mask of the square, (size, size), that goes on in the padding as its photo does."""
        return np.pad(plane[self._inner], self.margins, mode="edge")

    @property
    def margins(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows of padding before and after the photo, and columns."""
        bottom = self.size - self.top - self.inner_height
        return (self.top, bottom), (self.left, self.size - self.left - self.inner_width)

    def restore(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return a map of the square, float32 (size, size), as float32 (H, W) on the photo.

        Padding is cut off; the rest is interpolated bilinearly, antialiased where it shrinks, and
        never leaves the range of the values that were given.
        """
        if values.shape != (self.size, self.size):
            raise ImageError(
                f"the map is {values.shape}: expected ({self.size}, {self.size})",
                hint="restore maps with the frame of the square that they were computed on",
            )
        return resampled(values[self._inner], self.height, self.width)

    @property
    def _inner(self) -> tuple[slice, slice]:
        return (
            slice(self.top, self.top + self.inner_height),
            slice(self.left, self.left + self.inner_width),
        )


def frame(height: int, width: int, size: int) -> Frame:
    """Return the centred frame in which the photo's longer side fills the square.

    The shorter side is rounded to whole pixels and never to none.
    """
    if min(height, width, size) < 1:
        raise ImageError(
            f"cannot frame {height}x{width} in {size}: every side must be at least 1",
            hint="check the size setting and the photo",
        )
    scale = size / max(height, width)
    inner_height = max(1, round(height * scale))
    inner_width = max(1, round(width * scale))
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    return Frame(height, width, scale, top, left, inner_height, inner_width, size)


def letterbox(picture: npt.NDArray[Any], size: int) -> tuple[npt.NDArray[Any], Frame]:
    """Return the photo or mask fitted into a square, and the frame that undoes it.

    picture: uint8 (H, W, 3), or bool (H, W) for a mask; the square has the same type.

    A photo is resized with an antialiased bilinear filter and padded by repeating its edge, so that
    the border of the padding does not look like a defect. A mask is resized by area (see
    `shrink_mask`) and padded with False.
    """
    where = frame(picture.shape[0], picture.shape[1], size)
    inner = _shrunk(picture, where.inner_height, where.inner_width)
    if inner.ndim == 2:
        return np.pad(inner, where.margins), where
    return np.pad(inner, (*where.margins, (0, 0)), mode="edge"), where


def as_tiled(picture: npt.NDArray[Any], framing: str, size: int) -> npt.NDArray[Any]:
    """Return a photo or mask as tiles of this size look at it, of the same type.

    picture: uint8 (H, W, 3), or bool (H, W) for a mask. framing: `tiles` look at it as it is; in
    `strips` its shorter side has been shrunk to `size`, as in `letterbox`, where it was longer.

    Raises:
        ConfigError: the framing is another.
        ImageError: the picture is neither photo nor mask.
    """
    if framing not in ("strips", "tiles"):
        raise ConfigError(
            f"expected data.framing letterbox, strips or tiles, got {framing}",
            hint="a newer version may know it: inspect with the version that trained",
        )
    height, width = picture.shape[:2]
    scale = size / min(height, width)
    if framing == "tiles" or scale >= 1:
        return picture
    return _shrunk(picture, max(size, round(height * scale)), max(size, round(width * scale)))


def _shrunk(picture: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[Any]:
    if picture.dtype == np.bool_ and picture.ndim == 2:
        return shrink_mask(picture, height, width)
    if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3:
        photo = Image.fromarray(np.ascontiguousarray(picture))
        return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR))
    raise ImageError(
        f"cannot shrink {picture.dtype} {picture.shape}",
        hint="give a photo as uint8 (H, W, 3) or a mask as bool (H, W)",
    )


def resampled(values: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Return a map, float32 (h, w), as float32 (height, width), in the range of its own values.

    Bilinear, antialiased where it shrinks.
    """
    inner = np.ascontiguousarray(values, np.float32)
    resized = np.asarray(Image.fromarray(inner).resize((width, height), Image.Resampling.BILINEAR))
    return np.asarray(np.clip(resized, inner.min(), inner.max()), np.float32)


def shrink_mask(mask: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the mask on another grid, bool (height, width), by the area that it covers.

        cell = c >= max(c) / 2  and  c > 0,    c = covered share of the cell's area

    Where any cell is covered whole this is the rule "at least half"; a scratch thinner than a cell
    lowers the bar for itself, so a mask with a defect never becomes a mask without.
    """
    covered = _area_means(_area_means(mask, height).T, width).T
    peak = covered.max()
    rounding = 1e-9
    return np.asarray((covered >= peak / 2 - rounding) & (covered > rounding))


def _area_means(values: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
    """Return the means of the rows over `count` equal intervals: exact, whatever the ratio."""
    length = values.shape[0]
    sums = np.zeros((length + 1, *values.shape[1:]), np.int32 if values.dtype == bool else float)
    np.cumsum(values, axis=0, out=sums[1:])
    edges = np.arange(count + 1) * length / count
    whole = np.minimum(edges.astype(int), length - 1)
    part = (edges - whole)[:, None]
    integral = sums[whole] * (1 - part) + sums[whole + 1] * part
    means: npt.NDArray[np.float64] = np.diff(integral, axis=0) * (count / length)
    return means


def tile_windows(height: int, width: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Return the (top, left) corners of square tiles that cover the photo, row by row.

    size: the tile's side; overlap: the least that neighbours share; both in pixels. The last tile
    of a row or column ends at the photo's edge. A side shorter than a tile gets one tile.
    """
    if min(height, width, size) < 1 or not 0 <= overlap < size:
        raise ImageError(
            f"cannot tile {height}x{width} with tiles of {size} that overlap by {overlap}",
            hint="sides must be at least 1, and the overlap at least 0 and less than the tile",
        )
    tops, lefts = (_starts(length, size, size - overlap) for length in (height, width))
    return [(top, left) for top in tops for left in lefts]


def _starts(length: int, size: int, stride: int) -> list[int]:
    last = max(0, length - size)
    return [min(i * stride, last) for i in range(math.ceil(last / stride) + 1)]


def cut_tile(picture: npt.NDArray[Any], window: tuple[int, int], size: int) -> npt.NDArray[Any]:
    """Return the tile at a (top, left) corner: uint8 (size, size, 3), or bool (size, size) of a mask.

    Where the photo is smaller than the tile, its bottom and right edges are repeated.
    """
    top, left = window
    tile = picture[top : top + size, left : left + size]
    missing = [(0, size - tile.shape[0]), (0, size - tile.shape[1]), (0, 0)]
    return np.pad(tile, missing[: picture.ndim], mode="edge")


def blend_tiles(
    maps: Sequence[npt.NDArray[np.float32]],
    windows: Sequence[tuple[int, int]],
    height: int,
    width: int,
) -> npt.NDArray[np.float32]:
    """Return the photo's map, float32 (height, width), from the maps of its tiles.

        out(p) = sum_i w_i(p) m_i(p) / sum_i w_i(p),    w_i = sin^2 x sin^2 over tile i

    The shares w_i / sum w sum to 1 at every pixel and fall smoothly to nothing at a tile's edge
    where it meets another, so no seam shows and a constant stays that constant.

    maps: float32 (size, size) each, in the order of the windows, which must cover the photo.
    """
    size = len(maps[0]) if maps else 0
    if len(maps) != len(windows) or any(part.shape != (size, size) for part in maps):
        raise ImageError(
            f"{len(maps)} maps for {len(windows)} windows: expected one square map for each",
            hint="blend the maps of exactly the tiles that tile_windows gave",
        )
    ramp = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    bump = np.outer(ramp, ramp)
    total, weight = np.zeros((height, width)), np.zeros((height, width))
    for part, (top, left) in zip(maps, windows, strict=True):
        seen = np.s_[top : top + size, left : left + size]
        rows, columns = weight[seen].shape
        weight[seen] += bump[:rows, :columns]
        total[seen] += (bump * part)[:rows, :columns]
    if not weight.all():
        raise ImageError(
            "the windows leave part of the photo uncovered",
            hint="take the windows from tile_windows with the photo's own height and width",
        )
    return (total / weight).astype(np.float32)
