"""A few defect photos seen in many ways: one window, one rotation, one resampling at most."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

from blemish.data import shrink_mask
from blemish.errors import ConfigError, ImageError
from blemish.generation.crops import MARGIN, mirrored

Photo = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_BICUBIC_REACH = 3


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may be done to a defect photo so that it still shows the same defect.

    mirror, flip: exchange left and right, top and bottom, half of the time. angle: largest rotation
    either way, degrees. shift: how far the window may reach beyond the photo, as a share of its side.
    """

    mirror: bool = True
    flip: bool = True
    angle: float = 10.0
    shift: float = 0.05

    def __post_init__(self) -> None:
        if not (0 <= self.angle <= 180 and 0 <= self.shift <= 1):
            raise ConfigError(
                f"cannot rotate by {self.angle} degrees and shift by {self.shift}",
                hint="give an angle in [0, 180] and a shift in [0, 1]",
            )


@dataclass(frozen=True, slots=True)
class _Window:
    """A square in the photo's frame turned by `angle` (radians) about its middle; whole pixels."""

    top: int
    left: int
    side: int
    angle: float


def augmented(
    image: Photo, mask: Mask, size: int, rng: np.random.Generator, how: Augmentation | None = None
) -> tuple[Photo, Mask]:
    """Return a random square view of a defect photo, and the defect in it (AnomalyDiffusion, Suppl. B).

    Photo and mask are mirrored, turned and cropped together. The whole defect stays in the frame. The
    window is `size` pixels of the photo, at the photo's own resolution; it is larger, and the view
    smaller than life, only where the defect needs it: as in `crops.window_around`, where defects are
    painted. What lies beyond the photo mirrors it, its mask included, so no corner is grey.

    image: uint8 (H, W, 3); mask: bool (H, W), with a defect. To uint8 (size, size, 3) and bool
    (size, size); the mask is never empty, however thin the defect.

    Raises:
        ImageError: the mask is empty, or is not of the photo's size.
    """
    if image.shape != (*mask.shape, 3) or not mask.any():
        found = "no defect in it" if not mask.any() else f"a mask {mask.shape}"
        raise ImageError(
            f"expected a photo (H, W, 3) and the mask of its defect, got {image.shape} and {found}",
            hint="good photos have no part in learning defects",
        )
    how = how or Augmentation()
    rows, columns = (slice(None, None, -1 if flip else 1) for flip in _flips(how, rng))
    image, mask = image[rows, columns], mask[rows, columns]
    angle = math.radians(rng.uniform(-how.angle, how.angle))
    window = _window(mask, angle, size, how.shift, rng)
    view, seen = _cut(image, mask, window)
    if window.side == size:
        return view, seen
    resized = Image.fromarray(view).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(resized), shrink_mask(seen, size, size)


def _flips(how: Augmentation, rng: np.random.Generator) -> tuple[bool, bool]:
    """Return whether to exchange top and bottom, left and right."""
    flip, mirror = rng.random(2) < 0.5
    return bool(flip and how.flip), bool(mirror and how.mirror)


def _window(mask: Mask, angle: float, size: int, shift: float, rng: np.random.Generator) -> _Window:
    """Return a random window that holds the defect, inside the photo as far as the defect allows."""
    low, high = _extent(mask, angle)
    needed = math.ceil((high - low).max()) + 1
    room = size - 2 * min(MARGIN, size // 8)
    side = max(size, math.ceil(needed * size / room))
    corner = []
    for first, last, length in zip(low, high, mask.shape, strict=True):
        # The photo's own range of starts, in order also where the window is larger than the photo.
        ends = sorted((0.0, float(length - side)))
        from_, to = np.clip([ends[0] - shift * side, ends[1] + shift * side], last - side, first)
        start = round(rng.uniform(from_, to))
        corner.append(min(max(start, math.ceil(last - side)), math.floor(first)))
    return _Window(corner[0], corner[1], side, angle)


def _extent(mask: Mask, angle: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the lowest and the highest (row, column) of the defect in the turned frame."""
    centres = np.argwhere(mask).astype(np.float64) + 0.5
    turned = _turned(centres, angle, mask.shape)
    half = (abs(math.cos(angle)) + abs(math.sin(angle))) / 2
    return turned.min(axis=0) - half, turned.max(axis=0) + half


def _turned(
    points: npt.NDArray[np.float64], angle: float, shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    """Return points (..., 2) turned about the middle of a photo of this shape."""
    cosine, sine = math.cos(angle), math.sin(angle)
    middle = np.array(shape[:2]) / 2
    moved: npt.NDArray[np.float64] = (points - middle) @ np.array([[cosine, sine], [-sine, cosine]])
    return moved + middle


def _cut(image: Photo, mask: Mask, window: _Window) -> tuple[Photo, Mask]:
    """Return the window's pixels, interpolated only if it is turned."""
    lines = np.arange(window.side, dtype=np.float64) + 0.5
    grid = np.stack(np.meshgrid(window.top + lines, window.left + lines, indexing="ij"), axis=-1)
    points = _turned(grid, -window.angle, mask.shape)
    reach = _BICUBIC_REACH if window.angle else 0
    first = np.floor(points.min(axis=(0, 1))).astype(int) - reach
    last = np.ceil(points.max(axis=(0, 1))).astype(int) + reach
    rows, columns = (
        mirrored(np.arange(start, end), length)
        for start, end, length in zip(first, last, mask.shape, strict=True)
    )
    patch = np.ix_(rows, columns)
    if not window.angle:
        return image[patch], mask[patch]
    places = torch.from_numpy(2 * (points - first) / (last - first) - 1).flip(-1)[None]
    photo = torch.from_numpy(image[patch]).permute(2, 0, 1)[None].double()
    covered = torch.from_numpy(mask[patch])[None, None].double()
    view = F.grid_sample(photo, places, mode="bicubic", align_corners=False)
    share = F.grid_sample(covered, places, mode="bilinear", align_corners=False)
    pixels = view[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).contiguous()
    # Half of the largest share, as in `shrink_mask`: a turned hairline lowers the bar for itself.
    seen = (share >= share.amax() / 2) & (share > 0)
    return pixels.numpy(), seen[0, 0].numpy()
