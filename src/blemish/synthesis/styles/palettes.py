"""The two colours that foreign matter of one type is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from blemish.synthesis.styles.materials import colour, metal_colour
from blemish.synthesis.styles.style import Colour

Palette: TypeAlias = Callable[[np.random.Generator], tuple[Colour, Colour]]


def any_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return two unrelated colours, most often muted."""
    return _rgb(colour(rng, vivid=(0, rng.choice([0.2, 0.9])))), _rgb(colour(rng))


def dark(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return two nearly black colours: depths, soot, oil."""
    return _rgb(colour(rng, (0.02, 0.18), (0, 0.3))), _rgb(colour(rng, (0.05, 0.25), (0, 0.2)))


def pale(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return two pale colours: lint, lime, bare fibre, inner material."""
    return _rgb(colour(rng, (0.6, 0.97), (0, 0.5))), _rgb(colour(rng, (0.4, 0.9), (0, 0.4)))


def corroded(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return the dark and the light colour of rust, or now and then of verdigris or white rust."""
    kinds = (
        ((0.24, 0.10, 0.05), (0.72, 0.38, 0.12)),
        ((0.35, 0.16, 0.07), (0.60, 0.28, 0.10)),
        ((0.12, 0.33, 0.30), (0.45, 0.70, 0.60)),
        ((0.55, 0.56, 0.58), (0.85, 0.87, 0.88)),
    )
    first, second = kinds[rng.choice(4, p=(0.4, 0.3, 0.15, 0.15))]
    jitter = rng.normal(0, 0.03, (2, 3))
    return _rgb(np.array(first) + jitter[0]), _rgb(np.array(second) + jitter[1])


def dyes(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return what light is left by a liquid: water and oil darken, ink and juice colour."""
    weak = np.full(3, rng.uniform(0.4, 0.75)) * rng.uniform((1, 0.85, 0.6), (1, 1, 1))
    strong = np.array(rng.permutation([1.0, rng.uniform(0.15, 0.7), rng.uniform(0.1, 0.6)]))
    return _rgb(weak if rng.random() < 0.6 else strong), _rgb(colour(rng))


def inks(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return a strong dye that leaves one or two channels."""
    left = np.array(
        rng.permutation([rng.uniform(0.6, 1), rng.uniform(0.1, 0.6), rng.uniform(0.08, 0.4)])
    )
    return _rgb(left), _rgb(colour(rng))


def scorched(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return a brown dye, and the colour of ash."""
    return _rgb(rng.uniform((0.6, 0.35, 0.1), (0.9, 0.6, 0.4))), _rgb(colour(rng, (0.4, 0.8), (0, 0.1)))


def bare_metal(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return bright and dull metal."""
    metal = np.minimum(metal_colour(rng) + 0.2, 1)
    return _rgb(metal), _rgb(metal * 0.6)


def clear(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return a weak tint: resin, varnish, water."""
    return _rgb(1 - rng.random() ** 2 * rng.uniform((0.1, 0.1, 0.2), (0.3, 0.5, 0.7))), (1.0, 1.0, 1.0)


def _rgb(levels: npt.NDArray[np.floating[Any]]) -> Colour:
    red, green, blue = np.clip(levels, 0.01, 1).tolist()
    return red, green, blue
