"""Foreign matter: liquids, corrosion, dirt, fibres, ink, glue, and what heat leaves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from blemish.synthesis.factory.scene import slopes, smoothstep
from blemish.synthesis.styles.fields import single
from blemish.synthesis.styles.materials import LUMA
from blemish.synthesis.styles.relief import bowl, hollow, moved
from blemish.synthesis.styles.site import Site, layered, stained, toned
from blemish.synthesis.styles.surfaces import draw_material

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field
    from blemish.synthesis.factory.scene import Colours


SWATCH = 128
"""Side of the piece that foreign material is cut from, px."""


def wet(site: Site) -> Colours:
    """Return a soaked or oily patch: darker and more saturated, pooled unevenly, texture deepened."""
    style = site.style
    pooled = 0.85 + 0.3 * style.rough * site.fractal(1.8)
    edge = 1 + 0.35 * np.exp(-(((site.depth - 2.5) / 1.8) ** 2))
    amount = np.clip(site.cover() * pooled * edge, 0, 1.5)
    deepened = site.photo + 0.4 * style.rough * (site.photo - site.calm())
    return stained(layered(site.photo, deepened, np.clip(amount, 0, 1)), site.own_colour(), amount)


def tide(site: Site) -> Colours:
    """Return a dried drop: a dark or chalky rim, weaker rings within, a faint veil inside."""
    style = site.style
    wander = 0.12 * site.deepest * site.fractal(1.8)
    depth = np.maximum(site.depth + wander * hollow(site.depth, 4), 0)
    width = max(0.08 * site.deepest, 1.2)
    rings = np.exp(-(((site.depth - 1.3 * width) / width) ** 2))
    for share in site.rng.uniform(0.25, 0.8, int(site.rng.integers(0, 3))):
        rings = rings + 0.45 * np.exp(-(((depth - share * site.deepest) / width) ** 2))
    amount = (rings * (0.8 + 0.35 * site.fractal(1)) + 0.3) * smoothstep(0, 1.5, site.depth)
    amount = np.clip(amount, 0, 1.4) * style.opacity
    if style.tone > 1:
        return layered(site.photo, site.own_colour(), np.minimum(0.8 * amount, 1))
    return stained(site.photo, site.own_colour(), amount)


def rust(site: Site) -> Colours:
    """Return corrosion: patches eaten out of the surface, two-coloured, granular, in a faint halo."""
    style = site.style
    patchy = site.fractal(1.3)
    inner = site.depth / max(0.6 * site.deepest, 1)
    eaten = smoothstep(-0.1, 0.5, inner - 0.35 + 0.45 * style.rough * patchy)
    crumbs = site.bumps(max(style.scale, 2.2)) + 0.7 * site.grain(0.7)
    ochre = toned(site.mixture(0.5 + 0.4 * patchy + 0.2 * site.grain(1)), 1 + 0.18 * crumbs)
    scale = site.relief(ochre, 0.5 * style.rough * crumbs + 0.4 * style.depth * eaten)
    halo = stained(site.photo, np.sqrt(site.own_colour()), 0.8 * site.cover())
    return layered(halo, scale, eaten * style.opacity)


def dirt(site: Site) -> Colours:
    """Return lumps that lie on the surface: lit from one side, shadowed on the other."""
    style = site.style
    x, y, _ = style.lamp.towards
    lean = min(0.25 * site.deepest, abs(style.depth))
    offset = np.full_like(site.depth, -x * lean), np.full_like(site.depth, -y * lean)
    body = np.minimum(site.depth, moved(site.depth[..., np.newaxis], *offset)[..., 0] + lean * 0.5)
    lumps = 0.5 * style.rough * site.bumps(style.scale)
    lumpy = abs(style.depth) * bowl(body, 0.7 * site.deepest) + lumps
    tone = toned(site.mixture(0.5 + 0.35 * site.fractal(1.2)), 1 + 0.15 * style.rough * site.grain(0.7))
    lit = site.relief(tone, lumpy, 0.3)
    shadow = toned(site.photo, 1 - 0.6 * smoothstep(0, 1.5, site.depth))
    there = smoothstep(0, site.softness, body - 0.3) * style.opacity
    return layered(shadow, lit, there)


def fibre(site: Site) -> Colours:
    """Return a hair, thread or bristle: round, twisted, a little see-through, with its shadow."""
    style = site.style
    along, across, _ = site.axes()
    round_body = np.sqrt(np.clip(site.inner, 0, 1))
    twist = np.sin(2 * np.pi * (along + across) / max(2 * style.scale, 3)) * style.rough
    tone = toned(site.mixture(0.5 + 0.3 * site.fractal(1)), 0.9 + 0.15 * twist + 0.1 * site.grain(0.7))
    lit = site.relief(tone, abs(style.depth) * round_body, 0.4)
    shadow = toned(site.photo, 1 - 0.45 * smoothstep(0, 1.5, site.depth))
    share = smoothstep(0.3, 1.3, site.depth) * max(style.opacity, 0.6)
    return layered(shadow, lit, share)


def burn(site: Site) -> Colours:
    """Return scorched material: yellow to brown at the rim, char within, ash where it was hottest."""
    style = site.style
    heat = site.inner + 0.22 * site.fractal(1.6) + 0.08 * site.grain(1)
    heat = heat * (1 + style.opacity)
    browned = stained(site.photo, site.own_colour(), 1.2 * smoothstep(-0.1, 0.8, heat) + 0.2)
    char = smoothstep(0.6, 1.3, heat) * style.opacity
    black = toned(0.15 * site.calm() + 0.04, 1 + 0.3 * site.grain(0.8))
    ash = 0.5 * smoothstep(1.6, 3.0, heat + site.fractal(1.2))
    black = layered(black, site.own_colour(second=True), ash)
    return layered(browned, black, char)


def temper(site: Site) -> Colours:
    """Return the colours of a thin film, of oxide or oil: bands that follow its thickness.

    r_c = 1 - v (1 - cos(2 pi t / lambda_c)) / 2,  t the thickness, lambda_c per channel
    """
    style = site.style
    orders = 0.8 + 2.2 * style.rough
    film = orders * site.inner + 0.25 * orders * site.fractal(2)
    wave = np.array([1.0, 0.83, 0.69], np.float32)
    bands = 1 - 0.75 * style.opacity * (1 - np.cos(2 * np.pi * film[..., np.newaxis] / wave)) / 2
    share = smoothstep(0, max(site.softness, 2), site.depth)
    return layered(site.photo, single(site.photo * bands * style.tone), share)


def ink(site: Site) -> Colours:
    """Return a dye rubbed in: the surface shows through, more of it stays in the hollows."""
    style = site.style
    strokes = site.streaks(12, 1.2, style.flow) * style.rough * 0.3
    amount = site.cover(0.8) * (0.9 + strokes - 0.2 * site.texture() + 0.2 * site.fractal(1.6))
    return stained(site.photo, site.own_colour(), np.clip(amount, 0, 1.6))


def powder(site: Site) -> Colours:
    """Return dust, salt or lime: pale grains, thick in the middle, caught by the surface's texture."""
    style = site.style
    clumps = site.fractal(1.2) + site.grain(0.4 + 0.3 * style.scale)
    thick = 2 * site.inner + 0.6 * clumps + 0.6 * style.rough * site.texture()
    share = smoothstep(0.3, 2.3, thick)
    grains = toned(np.broadcast_to(site.own_colour(), site.photo.shape), 1 + 0.12 * site.grain(0.6))
    return layered(site.photo, grains, share * style.opacity)


def glue(site: Site) -> Colours:
    """Return a clear drop: the surface seen through a lens, tinted, with a rim and the lamp's image."""
    style = site.style
    width = max(0.9 * site.deepest, 1.5)
    drop = bowl(site.depth, width)
    height = single(0.2 * width * style.depth * drop + 0.3 * style.rough * site.bumps(12))
    across, down = slopes(height)
    seen = moved(site.photo, -2.5 * across, -2.5 * down)
    seen = stained(seen, site.own_colour(), 0.25 + 0.6 * style.opacity * drop)
    far = site.facing_lamp().clip(-1.2, 1.2)
    rim = np.exp(-(((site.depth - 1) / (0.08 * site.deepest + 1)) ** 2))
    gathered = 0.1 * style.depth * far * hollow(site.depth, 0.5 * width)
    seen = toned(seen, 1.05 + gathered - 0.5 * rim * (0.5 - 0.4 * far))
    x, y, _ = site.axes()
    lamp_x, lamp_y, _ = style.lamp.towards
    flat = math.hypot(lamp_x, lamp_y)
    ahead, aside = (x * lamp_x + y * lamp_y) / flat, (y * lamp_x - x * lamp_y) / flat
    lamp_size = 0.3 + 0.1 * style.scale
    # Rounded, or the image would have a corner wherever the distance from the rim has a crease.
    rounded = ndimage.gaussian_filter(site.depth, 0.15 * site.deepest, truncate=2)
    inset = (rounded - 0.3 * site.deepest) / (lamp_size * 0.15 * site.deepest + 0.6)
    window = np.hypot(inset, aside / (lamp_size * 0.6 * site.deepest + 1))
    shine = smoothstep(1.4, 0.6, window) * (ahead > 0) * (0.4 + 0.6 * style.gloss)
    return layered(seen, np.ones(3, np.float32), np.clip(shine, 0, 0.97))


def misprint(site: Site) -> Colours:
    """Return ink where none belongs: flat, crisp, thin in places, with the grid of its screen."""
    style = site.style
    dry = smoothstep(-2.6 + 2 * style.rough, -0.6, site.grain(1.0) + 0.8 * site.fractal(1))
    x, y, _ = site.axes()
    screen = 1 + 0.1 * style.rough * np.sin(2 * np.pi * x / 3.1) * np.sin(2 * np.pi * y / 3.1)
    shaded = site.own_colour() * (0.8 + 0.25 * site.photo @ LUMA)[..., np.newaxis]
    share = smoothstep(0, 1.5, site.depth) * max(style.opacity, 0.5) * (0.35 + 0.65 * dry)
    return layered(site.photo, shaded * screen[..., np.newaxis], share)


def foreign(site: Site) -> Colours:
    """Return another material in place of this one, always the same: inlay, wrong part, patch."""
    style = site.style
    slab = draw_material(SWATCH, np.random.default_rng(style.seed))
    # Mirrored beyond its borders: a swatch of another size would be another draw.
    rows, columns = (
        np.abs((np.arange(length) + start) % (2 * SWATCH - 2) - SWATCH + 1)
        for length, start in zip(site.depth.shape, site.rng.integers(0, SWATCH, 2), strict=True)
    )
    window = np.ix_(rows, columns)
    colours, height = slab.colour[window], slab.height[window]
    step: Field = height + style.depth * hollow(site.depth, 2.5)
    return layered(site.photo, site.relief(colours, step), site.inside(0.4))
