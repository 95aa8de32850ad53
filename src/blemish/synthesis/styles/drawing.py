"""A type of defect, invented: a family, and a setting for each of its dials."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from blemish.synthesis.styles.catalogue import FAMILIES, Range
from blemish.synthesis.styles.fields import log_uniform
from blemish.synthesis.styles.relief import Lamp
from blemish.synthesis.styles.style import DefectStyle

USUAL: Mapping[str, Range] = {
    "elongation": (1, 3.5),
    "ragged": (0, 1),
    "thickness": (1.3, 4.5),
    "count": (1, 6),
    "opacity": (0.6, 1),
    "softness": (1, 6),
    "depth": (1, 4),
    "scale": (1, 8),
    "rough": (0.15, 1),
    "gloss": (0, 0.5),
    "contrast": (0.025, 0.06),
}
"""What a style draws from where its family does not say otherwise."""

LEAST: Mapping[str, float] = {"edge": 0.06, "wedge": 0.02, "band": 0.015}
"""Share of the picture below which a shape is no longer one."""


def draw_style(rng: np.random.Generator, family: str | None = None) -> DefectStyle:
    """Return a random type of defect, of the given family or of any."""
    name = family or list(FAMILIES)[rng.integers(len(FAMILIES))]
    kind = FAMILIES[name]
    dials = {dial: _drawn(kind.ranges.get(dial, usual), rng) for dial, usual in USUAL.items()}
    shape = kind.shapes[rng.integers(len(kind.shapes))]
    least = max(kind.area[0], LEAST.get(shape, 0))
    low = log_uniform(rng, least, max(kind.area[1] / 1.5, least))
    first, second = kind.palette(rng)
    return DefectStyle(
        family=name,
        shape=shape,
        area=(low, min(low * rng.uniform(1.5, 5), 0.5)),
        heading=float(rng.choice([0, np.pi / 2]) if rng.random() < 0.5 else rng.uniform(0, np.pi)),
        spread=float(rng.choice([0.1, 0.5, math.pi])),
        colour=first,
        second=second,
        tone=_drawn(kind.tones[rng.integers(len(kind.tones))], rng),
        flow=float(rng.choice([0, np.pi / 2]) if rng.random() < 0.5 else rng.uniform(0, np.pi)),
        lamp=Lamp.draw(rng),
        seed=int(rng.integers(2**31)),
        elongation=dials["elongation"],
        ragged=dials["ragged"],
        thickness=dials["thickness"],
        count=round(dials["count"]),
        opacity=dials["opacity"],
        softness=dials["softness"],
        depth=dials["depth"],
        scale=dials["scale"],
        rough=dials["rough"],
        gloss=dials["gloss"],
        contrast=dials["contrast"],
    )


def _drawn(limits: Range, rng: np.random.Generator) -> float:
    low, high = limits
    return log_uniform(rng, low, high) if low > 0 else float(rng.uniform(low, high))
