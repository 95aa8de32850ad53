"""Defects of finish: nothing is missing, nothing was added, and yet the surface is not right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from blemish.synthesis.factory.scene import smoothstep
from blemish.synthesis.styles.fields import single
from blemish.synthesis.styles.relief import hollow, moved
from blemish.synthesis.styles.site import Site, layered, stained, toned

if TYPE_CHECKING:
    from blemish.synthesis.factory.scene import Colours

COPIES = 7
"""Of the surface, that a smear is the mean of."""


def smear(site: Site) -> Colours:
    """Return the surface dragged in one direction, under a thin film with the marks of the wipe."""
    style = site.style
    reach = 3 * style.scale + 3
    steps = np.linspace(-0.5, 0.5, COPIES) * reach
    still = np.zeros_like(site.depth)
    cos, sin = math.cos(style.flow), math.sin(style.flow)
    copies = [moved(site.photo, still + cos * step, still + sin * step) for step in steps.tolist()]
    wipe = site.streaks(25, 1.0, style.flow) + 0.6 * site.streaks(40, 3, style.flow)
    film = np.clip(0.5 + 0.35 * style.rough * wipe, 0, 1.3) * style.opacity
    filmed = toned(np.mean(copies, axis=0), 1 + (style.tone - 1) * film)
    filmed = layered(filmed, site.own_colour(), np.clip(0.3 * film, 0, 1))
    return layered(site.photo, filmed, site.fade)


def haze(site: Site) -> Colours:
    """Return the surface seen through fog or out of focus: contrast lost, a veil over it."""
    style = site.style
    share = site.cover() * (0.85 + 0.2 * site.fractal(2))
    lost = layered(site.photo, site.calm(4), np.clip(share * 1.2, 0, 1))
    return layered(lost, site.own_colour(), np.clip(share * (0.2 + 0.5 * style.rough), 0, 1))


def scuff(site: Site) -> Colours:
    """Return a rubbed place: many hair-fine lines, dense in the middle, over dulled texture."""
    style = site.style
    hairs = site.streaks(8 + 4 * style.scale, 0.5, style.flow)
    other = site.streaks(6 + 3 * style.scale, 0.5, style.flow + site.rng.normal(0, 0.4))
    dense = 1.3 * hollow(site.depth, site.softness + 0.3 * site.deepest) + 0.5 * site.fractal(1.5)
    lines = smoothstep(1.1, 2.4, np.maximum(hairs, 0.9 * other) + 0.8 * dense)
    dulled = layered(site.photo, site.calm(4), 0.5 * site.cover())
    dulled = toned(dulled, 1 + 0.35 * (style.tone - 1) * site.cover())
    worn = layered(site.calm(4) * style.tone, site.own_colour(), 0.35)
    return layered(dulled, worn, lines * style.opacity)


def fray(site: Site) -> Colours:
    """Return a worn-through place: torn threads and pits over a bare, rough ground."""
    style = site.style
    loose = np.maximum(site.streaks(7, 0.6, style.flow), site.streaks(7, 0.6, style.flow + 1.3))
    bare = 0.8 * site.depth / max(site.softness, 2) + 0.7 * site.fractal(1) - 0.4
    ground = toned(site.mixture(0.5 + 0.4 * site.fractal(1.2)), 1 + 0.2 * style.rough * site.grain(0.8))
    rough = site.relief(ground, style.rough * site.bumps(style.scale + 1), 0.4)
    threads = toned(site.calm() * style.tone, 1 + 0.3 * loose)
    worn = layered(rough, threads, smoothstep(0.5, 1.6, loose))
    share = smoothstep(-0.2, 0.8, single(bare)) * style.opacity
    return layered(toned(site.photo, 1 + 0.3 * (style.tone - 1) * site.cover()), worn, share)


def uneven(site: Site) -> Colours:
    """Return a badly worked region: another tone, stronger or weaker texture, its own tool marks."""
    style = site.style
    calm = site.calm()
    detail = site.photo - calm
    louder = 1 + 1.6 * (style.tone - 1) if style.rough > 0.5 else 1 - style.opacity
    marks = site.streaks(30 + 8 * style.scale, 0.6, style.flow) + 0.5 * site.streaks(15, 2, style.flow)
    tone = style.tone * (1 + 0.12 * style.rough * marks + 0.04 * site.fractal(1.8))
    worked = toned(calm + (max(louder, 0)) * detail, tone)
    return layered(
        site.photo,
        worked,
        smoothstep(0, site.softness, site.depth + 0.3 * site.softness * site.grain(1)),
    )


def bleach(site: Site) -> Colours:
    """Return faded or unevenly dyed material: tone and colour drift, texture stays."""
    style = site.style
    share = site.cover() * (0.9 + 0.2 * site.fractal(2))
    shifted = stained(site.photo, site.own_colour(), share * 0.5)
    level = 1 + (style.tone - 1) * share
    return toned(shifted, level)


def ghost(site: Site) -> Colours:
    """Return the surface doubled or out of register: its own picture, moved, over itself."""
    style = site.style
    reach = style.scale + 3
    still = np.zeros_like(site.depth)
    double = moved(
        site.photo, still + reach * math.cos(style.flow), still + reach * math.sin(style.flow)
    )
    darker = np.minimum(double, site.photo) if style.tone < 1 else double
    return layered(site.photo, toned(darker, style.tone), site.cover(0.2))
