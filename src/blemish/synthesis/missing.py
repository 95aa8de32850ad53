"""A piece that is gone: the background shows or, where there is none, the dark. Ours.

Whatever is pasted on a product is on it. A segmenter that has seen nothing else learns that what
looks like the background is never a defect, and overlooks cracks, holes and missing pieces, through
which the background shows (docs/lab.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blemish.synthesis.arrays import check_image, check_same_size

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Image, Mask

MOVES = 24
ENOUGH = 0.98
"""With so much of the mask over the background no further move is tried."""

DARK = 5
"""What is dark is darker than all but this percentage of the product's pixels."""


def behind(image: Image, foreground: Mask, mask: Mask, rng: np.random.Generator) -> tuple[Image, Mask]:
    """Return the photo moved so that its background lies under the mask, and where under it.

    image: uint8 RGB (H, W, 3); foreground, mask: bool (H, W), the mask not empty. Of 24 random moves,
    which wrap around, the one that brings most background under the mask; a real background, with its
    own grain and shadows. Returns uint8 RGB (H, W, 3) and bool (H, W), a part of the mask, empty where
    the photo has no background.

    Raises:
        ImageError: the photo is not uint8 RGB, or the planes have another size.
    """
    check_image(image)
    check_same_size(image, foreground, "foreground")
    check_same_size(image, mask, "mask")
    background = ~foreground
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    best, chosen = -1.0, (0, 0)
    for _ in range(MOVES):
        down, across = int(rng.integers(height)), int(rng.integers(width))
        share = float(background[(rows - down) % height, (columns - across) % width].mean())
        if share > best:
            best, chosen = share, (down, across)
        if share >= ENOUGH:
            break
    return np.roll(image, chosen, (0, 1)), mask & np.roll(background, chosen, (0, 1))


def depth(image: Image, foreground: Mask, rng: np.random.Generator) -> Image:
    """Return the dark of a hole or a crack, in the product's own tint: uint8 RGB (H, W, 3), one colour.

        colour = U(0, 1) * the 5 % quantile of each channel on the product

    image: uint8 RGB (H, W, 3); foreground: bool (H, W), not empty.

    Raises:
        ImageError: the photo is not uint8 RGB, or the foreground has another size.
    """
    check_image(image)
    check_same_size(image, foreground, "foreground")
    colour = rng.uniform() * np.percentile(image[foreground], DARK, axis=0)
    return np.broadcast_to(np.rint(colour).astype(np.uint8), image.shape)
