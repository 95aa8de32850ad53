"""Soft edges of a defect's mask. Ours: the paper's masks are hard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFilter

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field, Image, Mask

FEATHER = 3.0
"""Pixels over which a change of shade fades out at 256 px."""

SOFTEST = 1.0
"""Deviation of the softest edge of a missing piece, in pixels at 256 px."""


def feathered(mask: Mask) -> Field:
    """Return the mask with an edge that fades out inwards: float32 in (0, 1] inside, 0 outside."""
    # Thin strokes are all edge: the floor keeps them from fading away altogether.
    soft: Field = np.where(mask, np.maximum(_blurred(mask, FEATHER) / 255, 0.4), 0)
    return soft.astype(np.float32)


def softened(mask: Mask, rng: np.random.Generator) -> Field:
    """Return the mask with an edge that is a little out of focus: float32 in [0, 1], 0 outside.

    The largest value of a mask that is not empty is 1, however thin the mask.
    """
    inside = np.where(mask, _blurred(mask, rng.uniform(0, SOFTEST)), 0)
    soft: Field = inside.astype(np.float32) / np.float32(max(int(inside.max()), 1))
    return soft


def _blurred(mask: Mask, deviation: float) -> Image:
    """Return the mask out of focus, uint8 (H, W); deviation: in pixels at 256 px."""
    radius = deviation * min(mask.shape) / 256
    picture = Pillow.fromarray(mask).convert("L").filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(picture)
