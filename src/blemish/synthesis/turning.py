"""Turning a picture about its centre, cropped from a larger one so that no corner is empty."""

from __future__ import annotations

import math

from PIL import Image as Pillow


def turned_centre(picture: Pillow.Image, angle: float, width: int, height: int) -> Pillow.Image:
    """Return the middle (width, height) of the picture turned by `angle` radians, bilinear.

    A picture whose sides are at least the diagonal of (width, height) fills it at every angle.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    left = (picture.width - cos * width + sin * height) / 2
    top = (picture.height - sin * width - cos * height) / 2
    return picture.transform(
        (width, height),
        Pillow.Transform.AFFINE,
        (cos, -sin, left, sin, cos, top),
        resample=Pillow.Resampling.BILINEAR,
    )
