"""The outlines of defects: each shape is a field of which the lowest pixels are the mask.

So a mask has the area that was asked for wherever it lies, and is never empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw
from scipy import ndimage

from blemish.synthesis.strokes import Points, midpoint_displacement
from blemish.synthesis.styles.fields import bumps, fractal, log_uniform, positions, single

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field, Mask
    from blemish.synthesis.styles.style import DefectStyle

MARGIN = 0.06
"""Share of the picture's side that middles of masks keep from its border."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where a mask is drawn.

    size: of the picture, px; pixels: area to fill; place: the middle of the mask (x, y), px; u, v:
    positions along and across the heading from there, px.
    """

    style: DefectStyle
    rng: np.random.Generator
    size: int
    pixels: int
    heading: float
    place: Points
    u: Field
    v: Field

    @property
    def radius(self) -> float:
        """Radius of the disc with the wanted area, px."""
        return math.sqrt(self.pixels / math.pi)


Shape: TypeAlias = Callable[[Canvas], "Mask"]


def draw_mask(rng: np.random.Generator, style: DefectStyle, size: int) -> Mask:
    """Return where a defect of this style may be: bool (size, size), never empty."""
    share = log_uniform(rng, *style.area)
    heading = style.heading + rng.uniform(-style.spread, style.spread)
    place = rng.uniform(MARGIN, 1 - MARGIN, 2) * size
    if style.shape in ("bite", "wedge"):
        place, heading = _on_border(place, heading, size, rng)
    x, y = positions(size)
    x, y = x - np.float32(place[0] - size / 2), y - np.float32(place[1] - size / 2)
    cos, sin = np.float32(math.cos(heading)), np.float32(math.sin(heading))
    pixels = max(round(share * size * size), 1)
    canvas = Canvas(style, rng, size, pixels, heading, place, x * cos + y * sin, y * cos - x * sin)
    return SHAPES[style.shape](canvas)


def blob(canvas: Canvas) -> Mask:
    """Return a round to long patch with a smooth to ragged outline."""
    return _lowest(_roughened(_round(canvas, 2), canvas), canvas.pixels)


def strip(canvas: Canvas) -> Mask:
    """Return a bent strip that narrows towards its ends."""
    return _lowest(_roughened(_round(canvas, 3, bend=0.35), canvas), canvas.pixels)


def ring(canvas: Canvas) -> Mask:
    """Return a closed, uneven band."""
    distance = _roughened(_round(canvas, 2), canvas)
    middle = canvas.radius * canvas.rng.uniform(1.0, 1.8)
    return _lowest(np.abs(distance - np.float32(middle)), canvas.pixels)


def polygon(canvas: Canvas) -> Mask:
    """Return a convex patch with three to seven straight edges."""
    corners = int(canvas.rng.integers(3, 8))
    bearing = canvas.rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
    bearing = bearing + canvas.rng.normal(0, 0.6 / corners, corners)
    long = math.sqrt(canvas.style.elongation)
    u, v = canvas.u / np.float32(long), canvas.v * np.float32(long)
    sides = [
        (u * math.cos(angle) + v * math.sin(angle)) / canvas.rng.uniform(0.6, 1.4) for angle in bearing
    ]
    field = np.maximum.reduce(sides).astype(np.float32)
    return _lowest(_roughened(field, canvas, 0.3), canvas.pixels)


def edge(canvas: Canvas) -> Mask:
    """Return everything beyond a nearly straight line, as an uneven pass of a tool leaves it."""
    bow = canvas.rng.normal(0, 0.12) * canvas.v**2 / canvas.size
    wobble = canvas.style.ragged * 0.06 * canvas.size * fractal(canvas.size, canvas.rng, 1.8)
    return _lowest(single(canvas.u + bow + wobble), canvas.pixels)


def band(canvas: Canvas) -> Mask:
    """Return a band that crosses the whole picture."""
    bow = canvas.rng.normal(0, 0.1) * canvas.u**2 / canvas.size
    wobble = canvas.style.ragged * 0.5 * canvas.style.thickness * fractal(canvas.size, canvas.rng, 1.8)
    return _lowest(np.abs(canvas.v + bow + wobble).astype(np.float32), canvas.pixels)


def wedge(canvas: Canvas) -> Mask:
    """Return a gap that opens from a tip towards the border of the picture."""
    open_end = 1 - canvas.u / np.float32(canvas.size * canvas.rng.uniform(0.6, 1.4))
    wander = canvas.rng.uniform(0.02, 0.1) * canvas.size * fractal(canvas.size, canvas.rng, 2)
    field = np.abs(canvas.v + wander) / np.maximum(open_end, 0.05) + np.maximum(canvas.u, 0) * 0.2
    return _lowest(_roughened(single(field), canvas, 0.5), canvas.pixels)


def lines(canvas: Canvas) -> Mask:
    """Return one or several nearly parallel, nearly straight lines."""
    count = canvas.style.count
    length = np.clip(canvas.pixels / (canvas.style.thickness * count), 3, 1.4 * canvas.size)
    bow = canvas.rng.normal(0, 0.08)
    along = np.linspace(-0.5, 0.5, 17)[:, np.newaxis]
    curves = []
    middle = canvas.place
    for _ in range(count):
        ahead = _vector(
            canvas.heading + canvas.rng.normal(0, 0.05), length * canvas.rng.uniform(0.5, 1.2)
        )
        aside = np.array([-ahead[1], ahead[0]])
        curves.append(middle + along * ahead + (0.25 - along**2) * bow * aside)
        middle = canvas.place + canvas.rng.normal(0, 0.05, 2) * canvas.size
    return _around(curves, canvas)


def branching(canvas: Canvas) -> Mask:
    """Return a wandering line with a few side branches."""
    length = np.clip(canvas.pixels / canvas.style.thickness, 4, 1.5 * canvas.size)
    reach = _vector(canvas.heading, length / 2)
    wander = 0.05 + 0.12 * canvas.style.ragged
    trunk = midpoint_displacement(canvas.place - reach, canvas.place + reach, wander, 6, canvas.rng)
    curves = [trunk]
    for _ in range(canvas.rng.poisson(0.4 * (canvas.style.count - 1))):
        start = trunk[canvas.rng.integers(4, len(trunk) - 4)]
        turn = canvas.heading + canvas.rng.choice([-1, 1]) * canvas.rng.uniform(0.4, 1.3)
        tip = start + _vector(turn, length * canvas.rng.uniform(0.1, 0.5))
        curves.append(midpoint_displacement(start, tip, wander, 4, canvas.rng))
    return _around(curves, canvas)


def curl(canvas: Canvas) -> Mask:
    """Return a thread that lies as it fell."""
    length = np.clip(canvas.pixels / canvas.style.thickness, 4, 2.5 * canvas.size)
    turning = canvas.rng.normal(0, canvas.rng.uniform(0.02, 0.3), 64) + canvas.rng.normal(0, 0.03)
    heading = canvas.heading + np.cumsum(turning)
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / 64
    walked = np.cumsum(steps, axis=0)
    return _around([walked - walked[32] + canvas.place], canvas)


def specks(canvas: Canvas) -> Mask:
    """Return scattered small spots, in a cluster or all over."""
    count = max(int(canvas.rng.poisson(canvas.style.count)), 1)
    reach = min(canvas.rng.uniform(1, 3) * canvas.radius * math.sqrt(count), 0.6 * canvas.size)
    places = canvas.place + canvas.rng.normal(0, reach, (count, 2)) * (1, 1 / canvas.style.elongation)
    places[0] = canvas.place
    sizes = canvas.rng.lognormal(0, 0.5, count)
    radii = canvas.radius * sizes / math.sqrt(float(np.sum(sizes**2)))
    sheet = Pillow.new("L", (canvas.size, canvas.size))
    draw = ImageDraw.Draw(sheet)
    for (x, y), radius in zip(places, radii, strict=True):
        wide, tall = radius * canvas.rng.uniform(0.75, 1.3, 2)
        draw.ellipse((x - wide, y - tall, x + wide, y + tall), fill=1)
    x, y = np.clip(canvas.place, 0, canvas.size - 1)
    draw.point((x, y), fill=1)
    return np.asarray(sheet) > 0


def glyph(canvas: Canvas) -> Mask:
    """Return blocks, as of a letter, a code or a part of a logo."""
    rows, columns = canvas.rng.integers(2, 7, 2)
    blocks = canvas.rng.random((rows, columns)) < 0.55
    blocks[rows // 2, columns // 2] = True
    pitch = math.sqrt(canvas.pixels / blocks.sum())
    column = np.floor(canvas.u / pitch + columns / 2).astype(np.intp)
    row = np.floor(canvas.v / pitch + rows / 2).astype(np.intp)
    within = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    field = np.where(within & blocks[row.clip(0, rows - 1), column.clip(0, columns - 1)], 0, 1)
    distance = np.hypot(canvas.u, canvas.v)
    # Where hardly a block is in the picture, what is nearest to the middle stands in.
    return np.asarray((field == 0) | (distance <= distance.min()), np.bool_)


SHAPES: dict[str, Shape] = {
    "blob": blob,
    "bite": blob,
    "strip": strip,
    "ring": ring,
    "polygon": polygon,
    "edge": edge,
    "band": band,
    "wedge": wedge,
    "lines": lines,
    "branching": branching,
    "curl": curl,
    "specks": specks,
    "glyph": glyph,
}


def _on_border(
    place: Points, heading: float, size: int, rng: np.random.Generator
) -> tuple[Points, float]:
    """Return a place on one border of the picture, and a heading about square to it."""
    side = int(rng.integers(4))
    axis = side // 2
    place[axis] = 0 if side % 2 == 0 else size - 1
    inwards = (np.pi / 2) * axis + np.pi * (side % 2)
    return place, float(inwards + 0.5 * math.sin(heading))


def _round(canvas: Canvas, power: int, bend: float = 0.0) -> Field:
    """Return distances from the middle, px, in a metric whose discs have the style's elongation."""
    long = np.float32(math.sqrt(canvas.style.elongation * canvas.rng.uniform(0.8, 1.25)))
    u, v = canvas.u / long, canvas.v
    if bend:
        v = single(v + canvas.rng.normal(0, bend) / max(canvas.radius, 1) * u * u / long)
    v = v * long
    if power == 2:
        return single(np.hypot(u, v))
    return single((np.abs(u) ** power + np.abs(v) ** power) ** np.float32(1 / power))


def _roughened(field: Field, canvas: Canvas, strength: float = 1.0) -> Field:
    """Return the distances with lobes and a rough outline, as strong as the style says."""
    lobes = bumps(canvas.size, canvas.rng, max(2.5 * canvas.radius, 6), 0.6)
    fine = fractal(canvas.size, canvas.rng, 1.7)
    rough = strength * ((0.08 + 0.3 * canvas.style.ragged) * lobes + 0.15 * canvas.style.ragged * fine)
    return single(field + np.float32(canvas.radius) * rough)


def _around(curves: list[Points], canvas: Canvas) -> Mask:
    """Return the pixels near some curves, the first of which is the thickest; widths vary along it."""
    sheet = Pillow.new("L", (canvas.size, canvas.size))
    draw = ImageDraw.Draw(sheet)
    for points in curves:
        draw.line(points.ravel().tolist(), fill=1)
    distance = ndimage.distance_transform_edt(np.asarray(sheet) == 0).astype(np.float32)
    vary = 1 + 0.5 * canvas.style.ragged * bumps(canvas.size, canvas.rng, 25, 0.8)
    limit = np.maximum((canvas.style.thickness - 1) / 2 * vary, 0.2)
    return np.asarray(distance <= np.maximum(limit, distance.min()), np.bool_)


def _lowest(field: Field, pixels: int) -> Mask:
    """Return the given number of lowest pixels, and those that tie with the last of them."""
    pixels = min(pixels, field.size)
    return np.asarray(field <= np.partition(field, pixels - 1, axis=None)[pixels - 1], np.bool_)


def _vector(heading: float, length: float) -> npt.NDArray[np.float64]:
    return length * np.array([math.cos(heading), math.sin(heading)])
