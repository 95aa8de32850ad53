"""One mask becomes another: turned, scaled, bent, and drawn again at any resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from blemish.errors import ConfigError
from blemish.generation.masks import Points, Side, Template, bounds
from blemish.synthesis.arrays import Mask

if TYPE_CHECKING:
    from blemish.config import Turn

TURNS: dict[Turn, tuple[tuple[int, int], tuple[int, int]]] = {
    "mirror": ((1, 0), (0, -1)),
    "flip": ((-1, 0), (0, 1)),
    "half_turn": ((-1, 0), (0, -1)),
    "quarter_turn": ((0, -1), (1, 0)),
    "three_quarter_turn": ((0, 1), (-1, 0)),
    "transpose": ((0, 1), (1, 0)),
    "anti_transpose": ((0, -1), (-1, 0)),
}
"""Where each turn takes an offset (row, column) from the centre."""

_KNOTS, _FINE = 4, 33
_BAND = 1_000_000
# Chosen on 240 lines one pixel wide, turned and scaled: 91 % stay whole, and discs grow by 1 % at most.
_NEARLY, _FAINTEST = 0.45, 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """How far a mask may be from its template; the type's sizes and headings stay what they are.

    rotation: degrees, to both sides. scale: smallest and largest factor, equally likely in
    logarithm. bend: typical elastic displacement, as a share of the mask's reach. turns: mirror
    images and turns under which the product's photos look alike; each is as likely as none.

    Raises:
        ConfigError: a number is outside its range.
    """

    rotation: float = 10.0
    scale: tuple[float, float] = (0.85, 1.2)
    bend: float = 0.06
    turns: tuple[Turn, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 <= self.rotation <= 180 or not 0 < low <= high or not 0 <= self.bend < 0.5:
            raise ConfigError(
                f"expected rotation in [0, 180], 0 < scale low <= high and bend in [0, 0.5), got "
                f"{self.rotation}, {self.scale} and {self.bend}",
                hint="the defaults (10 degrees, 0.85 to 1.2, 0.06) suit most defects",
            )
        unknown = set(self.turns) - set(TURNS)
        if unknown:
            known = ", ".join(TURNS)
            raise ConfigError(f"unknown turns {sorted(unknown)}", hint=f"choose from {known}")


STILL = Jitter(rotation=0, scale=(1, 1), bend=0)


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a template's shape. angle: radians; bend: see `Warp`."""

    turn: Turn | None
    angle: float
    scale: float
    bend: Points

    @property
    def turning(self) -> Points:
        """The mirror image or turn alone, (2, 2)."""
        return np.eye(2) if self.turn is None else np.array(TURNS[self.turn], np.float64)

    @property
    def rotation(self) -> Points:
        """The small rotation alone, (2, 2)."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])

    @property
    def heading(self) -> Points:
        """Turn and rotation together, (2, 2)."""
        return self.rotation @ self.turning


@dataclass(frozen=True, slots=True)
class Warp:
    """Where each pixel of a new mask comes from.

        source(y) = centre + v + bend(v / reach),    v = linear^-1 (y - place)

    linear: (2, 2), source offsets to target offsets. centre, reach: of the template, pixels. place:
    where the centroid goes, pixels of the target. bend: (2, n, n) displacements in source pixels on a
    grid over [-1, 1]^2, constant beyond.
    """

    linear: Points
    centre: Points
    reach: Points
    place: Points
    bend: Points

    def forward(self, points: Points) -> Points:
        """Return where points (N, 2) of the source go, the bend left out."""
        return self.place + (points - self.centre) @ self.linear.T

    def backward(self, points: Points) -> Points:
        """Return where points (N, 2) of the target come from."""
        away = (points - self.place) @ np.linalg.inv(self.linear).T
        last = self.bend.shape[1] - 1
        knots = ((away / self.reach).clip(-1, 1).T + 1) / 2 * last
        shifts = [ndimage.map_coordinates(plane, knots, order=1) for plane in self.bend]
        moved: Points = self.centre + away + np.stack(shifts, axis=-1)
        return moved


def change(template: Template, jitter: Jitter, rng: np.random.Generator) -> Change:
    """Return a random change of shape within the limits of the jitter."""
    choice = int(rng.integers(len(jitter.turns) + 1))
    angle = math.radians(jitter.rotation) * rng.uniform(-1, 1)
    low, high = np.log(jitter.scale)
    scale = math.exp(rng.uniform(low, high))
    # Both axes bend by a share of the smaller reach, or a long crack would wander like a river.
    size = jitter.bend * float(np.sqrt(template.reach.min() * template.reach.mean()))
    knots = rng.normal(0, size, (2, _KNOTS, _KNOTS))
    bend = np.stack([ndimage.zoom(plane, _FINE / _KNOTS, order=3, mode="nearest") for plane in knots])
    turn = None if choice == len(jitter.turns) else jitter.turns[choice]
    return Change(turn, angle, scale, bend)


def render(template: Template, warp: Warp, shape: tuple[int, int]) -> Mask:
    """Return the template's mask under a warp, bool of the given (H, W).

        pixel = c >= 0.45 * max(c of it and its 8 neighbours)  and  c >= min(0.15, max(c) / 2)

    c: the share of the pixel's area that the mask covers, its edges interpolated. With one level for
    all, hairlines would fall to pieces. What a side of the frame cut off goes on beyond it, as far as
    the new frame. Empty only when the warp takes the whole mask outside.
    """
    target = np.zeros(shape, np.bool_)
    (top, left), (bottom, right) = _window(template, warp, shape)
    if top >= bottom or left >= right:
        return target
    shrink = 1 / float(np.linalg.svd(warp.linear, compute_uv=False).min())
    fine = min(max(2, math.ceil(2 * shrink)), 8)
    source = template.mask.astype(np.float32)
    columns = (np.arange(left * fine, right * fine) + 0.5) / fine - 0.5
    bands = []
    rows_at_once = max(1, _BAND // (len(columns) * fine))
    for first in range(top, bottom, rows_at_once):
        last = min(first + rows_at_once, bottom)
        rows = (np.arange(first * fine, last * fine) + 0.5) / fine - 0.5
        grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        values = ndimage.map_coordinates(source, warp.backward(grid).T, order=1, mode="nearest")
        cells = values.reshape(last - first, fine, right - left, fine)
        bands.append(cells.mean(axis=(1, 3)))
    covered = np.concatenate(bands)
    faintest = min(_FAINTEST, float(covered.max()) / 2)
    near = _NEARLY * ndimage.maximum_filter(covered, 3)
    target[top:bottom, left:right] = (covered > 0) & (covered >= near) & (covered >= faintest)
    return target


def turned_side(side: Side, linear: Points) -> Side:
    """Return the side of the target towards which a linear map takes a side of the source."""
    axis, end = side
    direction = linear[:, axis] * end
    towards = int(np.abs(direction).argmax())
    return towards, 1 if direction[towards] > 0 else -1


def _window(
    template: Template, warp: Warp, shape: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the corners of the part of the target that the mask can reach."""
    (top, left), (bottom, right) = bounds(template.mask)
    corners = np.array([(y, x) for y in (top - 1, bottom) for x in (left - 1, right)], np.float64)
    found = warp.forward(corners)
    # A bent point comes from v + bend(v): it can lie as far away as the bend reaches.
    slack = np.abs(warp.linear) @ np.abs(warp.bend).max(axis=(1, 2)) + 1
    ends = np.array([np.floor(found.min(0) - slack), np.ceil(found.max(0) + slack) + 1])
    for side in template.sides:
        axis, end = turned_side(side, warp.linear)
        ends[(end + 1) // 2, axis] = 0 if end < 0 else shape[axis]
    first, last = ends.clip(0, shape).astype(int).tolist()
    return (first[0], first[1]), (last[0], last[1])
