"""Lines with interval bands as inline SVG: class names, no colours, so that the page paints them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TypeVar

from markupsafe import Markup, escape

from blemish.experiments.charts import Axis, round_values
from blemish.experiments.tables import Plot

T = TypeVar("T")

# Circle, square, triangle, diamond, triangle upside down, cross: around (0, 0), told apart in grey.
MARKERS = (
    "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0 -8.4 0Z",
    "M-3.8 -3.8h7.6v7.6h-7.6Z",
    "M0 -5l4.9 8.5h-9.8Z",
    "M0 -5.4l5.4 5.4l-5.4 5.4l-5.4 -5.4Z",
    "M0 5l4.9 -8.5h-9.8Z",
    "M-4 -4L4 4M-4 4L4 -4",
)
MOST_MARKERS = 12  # on a line, which more would hide; a point between gaps always has one
MOST_NAMED = 8  # values of x that are marked as they are; of more, round values are
LEFT, RIGHT, TOP, BOTTOM = 52, 548, 30, 284
MARGIN = 14  # within the frame, so that no marker is cut


def line_chart(plot: Plot) -> Markup:
    """Return the plot as SVG, an empty text if no figure of it is defined.

    A line has a gap where its figure is undefined. The y axis holds all figures and intervals; it
    need not start at zero. Line n has the class `s<n>`, with the marker of `swatch(n)`.

    Raises:
        ValueError: there are more than six lines, or an x of a logarithmic axis is not positive.
    """
    if len(plot.series) > len(MARKERS):
        raise ValueError(f"expected at most {len(MARKERS)} lines in a plot, got {len(plot.series)}")
    lines = [sorted(line.points, key=lambda point: point[0]) for line in plot.series]
    figures = [figure for line in lines for _, figure in line if figure.value is not None]
    if not figures:
        return Markup("")
    places = sorted({x for line in lines for x, _ in line})
    if plot.logarithmic and places[0] <= 0:
        raise ValueError(f"expected positive x on a logarithmic axis, got {places[0]}")
    across = _axis(places, LEFT + MARGIN, RIGHT - MARGIN, logarithmic=plot.logarithmic)
    heights = [end for figure in figures for end in (figure.value, *(figure.interval or ()))]
    up = _axis([y for y in heights if y is not None], BOTTOM - MARGIN, TOP + MARGIN)

    bands, strokes, marks = [], [], []
    for place, (series, line) in enumerate(zip(plot.series, lines, strict=True)):
        for ends in _stretches([(x, figure.interval) for x, figure in line]):
            upper, lower = ([(x, pair[side]) for x, pair in ends] for side in (1, 0))
            bands.append(f'<path class="band s{place}" d="{_path(upper + lower[::-1], across, up)}Z"/>')
        known = _stretches([(x, figure.value) for x, figure in line])
        strokes += [f'<path class="line s{place}" d="{_path(run, across, up)}"/>' for run in known]
        lone = {run[0][0] for run in known if len(run) == 1}
        step = len(line) // MOST_MARKERS + 1
        for number, (x, figure) in enumerate(line):
            if figure.value is not None and (number % step == 0 or x in lone):
                words = f"{series.name}, {plot.x} {_label(x)}: {' '.join(figure.shown(plot.digits))}"
                marks.append(_marker(place, across.at(x), up.at(figure.value), words))
    names = ", ".join(series.name for series in plot.series)
    words = f"{plot.title}: {plot.y} against {plot.x}, for {names}"
    parts = [_frame(plot, across, up, places), *bands, *strokes, *marks]
    head = f'<svg role="img" viewBox="0 0 560 338" aria-label="{escape(words)}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 -- all text above is escaped


def swatch(place: int) -> Markup:
    """Return a piece of line n as SVG, for the legend."""
    line = f'<path class="line s{place}" d="M1 8H39"/>'
    head = '<svg class="swatch" viewBox="0 0 40 16" width="40" height="16" aria-hidden="true">'
    return Markup(f"{head}{line}{_marker(place, 20, 8)}</svg>")  # noqa: S704 -- no text from outside


def _axis(values: Sequence[float], start: float, end: float, *, logarithmic: bool = False) -> Axis:
    low, high = min(values), max(values)
    if low == high:
        margin = 0.05 * abs(low) or 0.05
        low, high = low - margin, high + margin
    return Axis(low, high, start, end, logarithmic)


def _stretches(points: Sequence[tuple[float, T | None]]) -> list[list[tuple[float, T]]]:
    """Return the points (x, something) in stretches without a gap; None is a gap."""
    runs = groupby(points, key=lambda point: point[1] is None)
    return [[(x, value) for x, value in run if value is not None] for gap, run in runs if not gap]


def _path(points: Sequence[tuple[float, float]], across: Axis, up: Axis) -> str:
    return "M" + "L".join(f"{across.at(x):.1f} {up.at(y):.1f}" for x, y in points)


def _marker(place: int, x: float, y: float, words: str = "") -> str:
    told = f"<title>{escape(words)}</title>" if words else ""
    where = f'transform="translate({x:.1f} {y:.1f})"'
    return f'<path class="mark s{place}" {where} d="{MARKERS[place]}">{told}</path>'


def _frame(plot: Plot, across: Axis, up: Axis, places: Sequence[float]) -> str:
    """Return grid lines, marks of the axes with their numbers, and what the axes show."""
    ticks = round_values(up.low, up.high, 5)
    parts = []
    for value, label in zip(ticks, _labels(ticks), strict=True):
        y = f"{up.at(value):.1f}"
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text x="{LEFT - 7}" y="{y}" dy="0.35em" text-anchor="end">{label}</text>'
        )
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>')
    free = -math.inf
    for value in places if len(places) <= MOST_NAMED else across.ticks():
        x, label = across.at(value), _label(value)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 5}"/>')
        half = 4 * len(label)  # pixels, and never less than the text needs
        if x - half > free:
            parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 20}" text-anchor="middle">{label}</text>')
            free = x + half + 4
    scale = " (logarithmic)" if plot.logarithmic else ""
    middle = (LEFT + RIGHT) / 2
    parts.append(
        f'<text class="name" x="2" y="16">{escape(plot.y)}</text>'
        f'<text class="name" x="{middle}" y="330" text-anchor="middle">{escape(plot.x)}{scale}</text>'
    )
    return "".join(parts)


def _labels(values: Sequence[float]) -> list[str]:
    """Return the values as text, all with as many decimals as one of them needs."""
    texts = [_label(value) for value in values]
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    exponents = any("e" in text for text in texts)
    return texts if exponents else [f"{value:.{decimals}f}" for value in values]


def _label(value: float) -> str:
    return f"{round(value, 12):.6g}"
