"""The place where a defect is painted, and what all painters do there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image as Pillow
from scipy import ndimage

from blemish.synthesis.factory.scene import Colours, smoothstep
from blemish.synthesis.styles import fields
from blemish.synthesis.styles.fields import Levels, positions, single
from blemish.synthesis.styles.materials import LUMA
from blemish.synthesis.styles.relief import glint, hollow, moved, shading

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field, Mask
    from blemish.synthesis.styles.style import DefectStyle


@dataclass(frozen=True, slots=True)
class Site:
    """A window of a photo about a defect.

    photo: what is there, (h, w, 3), 1 = white; mask: (h, w); depth: how deep in the mask, px, 0
    outside; style, rng: what the defect is like, and what is left to chance.
    """

    photo: Colours
    mask: Mask
    depth: Field
    style: DefectStyle
    rng: np.random.Generator

    @property
    def deepest(self) -> float:
        """Distance from the rim to the innermost pixel, px."""
        return float(self.depth.max())

    @property
    def inner(self) -> Field:
        """Depth as a share of the deepest, 0 to 1."""
        return single(self.depth / max(self.deepest, 1))

    @property
    def softness(self) -> float:
        """Pixels over which the edge fades in: never more than a small defect has room for."""
        return max(min(self.style.softness, 0.7 * self.deepest), 1.0)

    def fractal(self, slope: float = 1.5) -> Field:
        """Return `fields.fractal` over the window."""
        return self._window(fields.fractal(self._side, self.rng, slope))

    def bumps(self, scale: float, width: float = 0.5) -> Field:
        """Return `fields.bumps` over the window."""
        return self._window(fields.bumps(self._side, self.rng, scale, width))

    def grain(self, scale: float) -> Field:
        """Return `fields.grain` over the window."""
        return self._window(fields.grain(self._side, self.rng, scale))

    def streaks(self, length: float, width: float, heading: float) -> Field:
        """Return `fields.streaks` over the window."""
        return self._window(fields.streaks(self._side, self.rng, length, width, heading))

    def cells(self, pitch: float, disorder: float = 1.0, warp: float = 0.0) -> fields.Cells:
        """Return `fields.cells` over the window."""
        found = fields.cells(self._side, self.rng, pitch, disorder, warp)
        rows, columns = self.depth.shape
        return fields.Cells(
            self._window(found.first), self._window(found.second), found.number[:rows, :columns]
        )

    def calm(self, scale: int = 8) -> Colours:
        """Return the surface without its texture: only changes over more than `scale` px are left."""
        levels = (np.clip(self.photo, 0, 1) * 255).astype(np.uint8)
        picture = Pillow.fromarray(levels)
        small = (max(picture.width // scale, 1), max(picture.height // scale, 1))
        coarse = picture.resize(small, Pillow.Resampling.BOX)
        smooth = coarse.resize(picture.size, Pillow.Resampling.BICUBIC)
        return np.asarray(smooth, np.float32) * np.float32(1 / 255)

    def texture(self) -> Field:
        """Return the surface's own texture as a relief might show it: its detail, within [-2, 2]."""
        detail = (self.photo - self.calm()) @ LUMA
        return single(np.clip(detail / max(float(detail.std()), 0.004), -2, 2))

    def inside(self, ragged: float = 0.5) -> Field:
        """Return the defect's coverage in [0, 1]: soft or sharp, with an edge that wanders."""
        wander = ragged * self.softness * self.grain(max(self.softness / 2, 0.7))
        share = smoothstep(0, self.softness, single(self.depth + wander - 0.5))
        return single(share * (self.depth > 0))

    def cover(self, ragged: float = 0.5) -> Field:
        """Return how much of the surface the defect hides: its coverage times its opacity."""
        return single(self.inside(ragged) * self.style.opacity)

    @property
    def fade(self) -> Field:
        """How far the edge has faded in, [0, 1], without any wandering."""
        return smoothstep(0, self.softness, self.depth)

    def relief(self, colours: Colours, height: Levels, ambient: float = 0.4) -> Colours:
        """Return the colours lit as a surface of that height, with the mirror part of its gloss."""
        height = single(height)
        lit = shading(height, self.style.lamp, ambient)[..., np.newaxis] * colours
        if self.style.gloss < 0.05:
            return single(lit)
        mirror = 0.5 * self.style.gloss * glint(height, self.style.lamp, 10)
        return single(lit + mirror[..., np.newaxis])

    def facing_lamp(self) -> Field:
        """Return where in the defect each pixel lies as seen from the lamp: -1 nearest, 1 farthest."""
        x, y = self._positions()
        towards = self.style.lamp.towards
        ahead = -(x * towards[0] + y * towards[1]) / math.hypot(towards[0], towards[1])
        inner = ahead[self.mask]
        reach = max(float(inner.max() - inner.min()) / 2, 1)
        return single((ahead - (inner.max() + inner.min()) / 2) / np.float32(reach))

    def axes(self) -> tuple[Field, Field, float]:
        """Return positions along and across the defect, px from its middle, and its heading.

        The heading is that of the longest spread of the mask's pixels.
        """
        x, y = self._positions()
        inner_x, inner_y = x[self.mask], y[self.mask]
        middle_x, middle_y = inner_x.mean(), inner_y.mean()
        dx, dy = inner_x - middle_x, inner_y - middle_y
        heading = 0.5 * math.atan2(2 * float((dx * dy).sum()), float((dx * dx).sum() - (dy * dy).sum()))
        u, v = x - middle_x, y - middle_y
        cos, sin = np.float32(math.cos(heading)), np.float32(math.sin(heading))
        return u * cos + v * sin, v * cos - u * sin, heading

    def dome(self, share: float = 1.0) -> Field:
        """Return a height that rises inwards with a slope of about 1 over `share` of the way, px.

        It is flat at the rim, and rounded where the distance from the rim has a crease.
        """
        rounded = ndimage.gaussian_filter(self.depth, 0.2 * self.deepest + 0.5, truncate=2)
        width = max(share * self.deepest, 1)
        return single(width * hollow(rounded, width) * hollow(self.depth, min(0.6 * width, 4)))

    def core(self, width: float) -> Field:
        """Return how near each pixel is to the middle line of a thin defect: 1 there, 0 at the rim."""
        smooth = ndimage.gaussian_filter(self.mask.astype(np.float32), 0.4 * width + 0.4, truncate=2)
        crest = ndimage.maximum_filter(smooth, 2 * round(width) + 1)
        return single(smooth / np.maximum(crest, 0.05))

    def in_shadow(self, reach: float, blur: float = 1.0) -> Field:
        """Return where the rim's shadow falls, [0, 1]: inside, within `reach` px of a rim lampwards."""
        x, y, _ = self.style.lamp.towards
        norm = reach / math.hypot(x, y)
        offset = np.full_like(self.depth, x * norm), np.full_like(self.depth, y * norm)
        rim = moved(self.depth[..., np.newaxis], *offset)[..., 0]
        return smoothstep(blur + 0.5, 0.0, rim)

    def own_colour(self, *, second: bool = False) -> Colours:
        """Return the colour of the style's foreign matter, (3,)."""
        return np.array(self.style.second if second else self.style.colour, np.float32)

    def mixture(self, share: Levels) -> Colours:
        """Return the style's two colours mixed: (h, w, 3), the first where the share is 0."""
        first = np.broadcast_to(self.own_colour(), (*share.shape, 3))
        return layered(first, self.own_colour(second=True), np.clip(share, 0, 1))

    @property
    def _side(self) -> int:
        # One of few sizes, so that the transforms behind the fields are of few sizes.
        return int(-(-max(self.depth.shape) // fields.QUANTUM) * fields.QUANTUM)

    def _window(self, field: Field) -> Field:
        return field[: self.depth.shape[0], : self.depth.shape[1]]

    def _positions(self) -> tuple[Field, Field]:
        x, y = positions(max(self.depth.shape))
        return self._window(x), self._window(y)


Painter: TypeAlias = Callable[[Site], Colours]
"""What a defect looks like: (h, w, 3); only what it says inside the mask counts."""


def stained(colours: Colours, dye: Colours, amount: Levels) -> Colours:
    """Return colours seen through a dye (Beer and Lambert): c * dye^amount."""
    return single(colours * np.exp(np.log(np.maximum(dye, 0.02)) * amount[..., np.newaxis]))


def layered(below: Colours, above: Colours, share: Levels | float) -> Colours:
    """Return (1 - share) * below + share * above; share: (h, w), or one for all pixels."""
    weight = single(np.asarray(share))[..., np.newaxis]
    return below + weight * (above - below)


def toned(colours: Colours, factor: Levels | float) -> Colours:
    """Return the colours lighter or darker, per pixel."""
    return single(colours * np.maximum(np.asarray(factor), 0)[..., np.newaxis])
