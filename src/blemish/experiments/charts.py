"""Small charts as inline SVG: class names, no colours, so that the page's theme paints them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from blemish.metrics import Curve

Values = npt.NDArray[np.float64]

BINS = 48
# Scores that span more than this ratio are told apart only on a logarithmic axis.
WIDE = 50.0


@dataclass(frozen=True, slots=True)
class Group:
    """One kind of photo in the histogram: its name, its style class, and its scores (n,)."""

    name: str
    style: str
    scores: Values


@dataclass(frozen=True, slots=True)
class Axis:
    """A line of values from `low` to `high`, drawn from pixel `start` to pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, place = self.low, self.high, value
        if self.logarithmic:
            low, high, place = math.log(low), math.log(high), math.log(value)
        return self.start + (place - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round values along the axis."""
        if not self.logarithmic:
            return round_values(self.low, self.high, 6)
        factors = (1, 2, 5) if self.high / self.low < 1e3 else (1,)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        candidates = (factor * 10.0**power for power in powers for factor in factors)
        return [value for value in candidates if self.low <= value <= self.high]

    def edges(self, count: int) -> Values:
        """Return the ends of `count` bins, evenly wide on paper."""
        if self.logarithmic:
            return np.geomspace(self.low, self.high, count + 1)
        return np.linspace(self.low, self.high, count + 1)


def round_values(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` + 1 multiples of 1, 2 or 5 times a power of ten within [low, high]."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def score_axis(scores: Values, start: float, end: float) -> Axis:
    """Return an axis that holds all scores: logarithmic if they are positive and span decades."""
    low, high = float(scores.min()), float(scores.max())
    if low > 0 and high / low > WIDE:
        return Axis(low / 1.05, high * 1.05, start, end, logarithmic=True)
    margin = 0.02 * (high - low) or max(abs(high), 1.0) * 0.05
    return Axis(low - margin, high + margin, start, end)


def histogram(groups: Sequence[Group], threshold: float) -> Markup:
    """Return the groups' score distributions, each as shares of its own photos, with the threshold.

    Groups without a score are left out; without any score there is no chart, but an empty string.
    """
    groups = [group for group in groups if len(group.scores)]
    if not groups:
        return Markup("")
    everything = np.concatenate([*(group.scores for group in groups), [threshold]])
    across = score_axis(everything, 56, 944)
    edges = across.edges(BINS)
    # The ends are rounded by the logarithm; a score on one of them must not fall out.
    edges[0], edges[-1] = across.low, across.high
    shares = [np.histogram(group.scores, edges)[0] / len(group.scores) for group in groups]
    up = Axis(0, 1.05 * max(float(share.max()) for share in shares), 262, 34)

    parts = [_grid(across, up, "%")]
    for group, share in zip(groups, shares, strict=True):
        steps = "".join(
            f"L{across.at(left):.1f} {up.at(height):.1f}L{across.at(right):.1f} {up.at(height):.1f}"
            for left, right, height in zip(edges[:-1], edges[1:], share.tolist(), strict=True)
        )
        base = f"{up.start:.1f}"
        path = f"M{across.start} {base}{steps}L{across.end} {base}"
        parts.append(f'<path class="shape {group.style}" d="{path}"/>')
    line = across.at(threshold)
    side, gap = ("end", -8) if line > 700 else ("start", 8)
    parts.append(
        f'<line class="threshold" x1="{line:.1f}" x2="{line:.1f}" y1="{up.end}" y2="{up.start}"/>'
        f'<text class="strong" x="{line + gap:.1f}" y="{up.end + 12}" text-anchor="{side}">'
        f"threshold {threshold:.3g}</text>"
    )
    place = 56.0
    for group in groups:
        label = f"{group.name} ({len(group.scores)})"
        parts.append(
            f'<rect class="shape {group.style}" x="{place:.0f}" y="6" width="16" height="12"/>'
            f'<text x="{place + 22:.0f}" y="17">{escape(label)}</text>'
        )
        place += 22 + 7.6 * len(label) + 26
    scale = ", logarithmic scale" if across.logarithmic else ""
    parts.append(f'<text class="name" x="500" y="306" text-anchor="middle">score{scale}</text>')
    counts = ", ".join(f"{len(group.scores)} {group.name}" for group in groups)
    return _svg(960, 314, f"Distribution of scores: {counts}; threshold {threshold:.3g}", parts)


def curve_chart(
    curve: Curve,
    names: tuple[str, str],
    *,
    description: str,
    baseline: tuple[float, float],
    point: tuple[float, float],
    steps: bool = False,
) -> Markup:
    """Return a curve in the unit square, with a dashed baseline and the working point marked.

    names: of the two axes. baseline: height of the dashed line at the left and at the right end.
    point: where the threshold puts the detector. steps: draw level lines between the points.
    """
    across, up = Axis(0, 1, 56, 436), Axis(0, 1, 316, 16)
    path = [f"M{across.at(curve.x[0]):.1f} {up.at(curve.y[0]):.1f}"]
    for x, y in zip(curve.x[1:].tolist(), curve.y[1:].tolist(), strict=True):
        if steps:
            path.append(f"V{up.at(y):.1f}")
        path.append(f"L{across.at(x):.1f} {up.at(y):.1f}")
    left, right = up.at(baseline[0]), up.at(baseline[1])
    x, y = across.at(point[0]), up.at(point[1])
    ends = f'x1="{across.start}" x2="{across.end}" y1="{left:.1f}" y2="{right:.1f}"'
    turned = 'transform="translate(14 166) rotate(-90)"'
    parts = [
        _grid(across, up, ""),
        f'<line class="base" {ends}/>',
        f'<path class="curve" d="{"".join(path)}"/>',
        f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="5.5"/>',
        f'<text class="name" x="246" y="358" text-anchor="middle">{escape(names[0])}</text>',
        f'<text class="name" {turned} text-anchor="middle">{escape(names[1])}</text>',
    ]
    return _svg(456, 366, description, parts)


def _grid(across: Axis, up: Axis, unit: str) -> str:
    """Return grid lines with their numbers; unit "%": the upright values are shares."""
    factor = 100 if unit == "%" else 1
    parts = []
    for value in round_values(up.low, up.high, 5):
        y = f"{up.at(value):.1f}"
        parts.append(
            f'<line class="grid" x1="{across.start}" x2="{across.end}" y1="{y}" y2="{y}"/>'
            f'<text x="{across.start - 8}" y="{y}" dy="0.35em" text-anchor="end">'
            f"{_number(value * factor)}{unit and ' ' + unit}</text>"
        )
    for value in across.ticks():
        x = f"{across.at(value):.1f}"
        parts.append(
            f'<line class="grid" x1="{x}" x2="{x}" y1="{up.start}" y2="{up.start + 5}"/>'
            f'<text x="{x}" y="{up.start + 21}" text-anchor="middle">{_number(value)}</text>'
        )
    return "".join(parts)


def _number(value: float) -> str:
    return f"{round(value, 12):.4g}"


def _svg(width: int, height: int, description: str, parts: Iterable[str]) -> Markup:
    head = f'<svg role="img" viewBox="0 0 {width} {height}" aria-label="{escape(description)}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 -- all text above is escaped
