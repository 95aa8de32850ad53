"""Training photos as the camera might have taken them in other light."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from blemish.detection.photos import View

_PLACES = 3
"""The light varies smoothly between so many places of a side."""


def in_other_light(view: View, spread: float, rng: np.random.Generator) -> View:
    """Return a square in another light; a spread of 0 leaves it as it is, 0.1 is plain to see.

        x' = x exp(g + f),    g and, at 3 x 3 places, f ~ N(0, spread^2), f bicubic in between

    One light for all three channels: a grey photo stays grey. Source: ours (docs/lab.md).
    """
    if spread == 0:
        return view
    places = torch.from_numpy(rng.normal(0, spread, (1, 1, _PLACES, _PLACES)))
    places += rng.normal(0, spread)
    height, width = view.image.shape[:2]
    field = F.interpolate(places, (height, width), mode="bicubic", align_corners=True)[0, 0].exp()
    levels = view.image * field.numpy()[..., None].astype(np.float32)
    return View(np.rint(levels).clip(0, 255).astype(np.uint8), view.valid, view.allowed)
