"""Defects of shape: material that is gone, pushed in, split, folded or torn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from blemish.synthesis.factory.scene import slopes, smoothstep
from blemish.synthesis.styles.fields import single
from blemish.synthesis.styles.relief import bowl, hollow, moved, shading
from blemish.synthesis.styles.site import Site, layered, toned

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field
    from blemish.synthesis.factory.scene import Colours


def hole(site: Site) -> Colours:
    """Return a hole: a wall that catches light on the far side, darkness below, a burr at the rim."""
    style = site.style
    wall = hollow(site.depth, 0.25 * site.deepest + 1)
    height = style.depth * wall + 0.3 * site.bumps(style.scale) * wall
    far = smoothstep(-0.6, 1.1, site.facing_lamp())
    lit = 0.25 + 0.75 * far * (1 - 0.6 * site.in_shadow(abs(style.depth)))
    below = toned(np.broadcast_to(site.own_colour(), site.photo.shape), lit)
    walls = site.relief(site.calm() * style.tone, height)
    burr = np.exp(-((site.depth - 1.2) ** 2)) * (0.3 + 0.5 * far) * style.gloss
    inside = layered(walls, below, wall * 0.95)
    return layered(site.photo, inside + burr[..., np.newaxis], site.cover(0.3))


def chip(site: Site) -> Colours:
    """Return a broken-out piece: facets of the inner material, bright where they face the lamp."""
    style = site.style
    found = site.cells(max(0.45 * site.deepest + 2 * style.scale, 3), 1, 1)
    facets = found.tones(site.rng) * found.first + 0.5 * found.tones(site.rng) * style.scale
    rough = style.rough * site.bumps(style.scale)
    pit = style.depth * bowl(site.depth, 0.5 * site.deepest + 1)
    height = ndimage.gaussian_filter(0.5 * facets + pit, 0.7, truncate=2) + 0.6 * rough
    inner = site.mixture(0.5 + 0.35 * site.fractal(1.2)) * style.opacity
    inner = inner + site.calm() * ((1 - style.opacity) * style.tone)
    inner = toned(inner, 1 + 0.15 * style.rough * site.grain(0.6))
    shadow = 1 - 0.5 * site.in_shadow(0.6 * abs(style.depth) + 1)
    return layered(site.photo, toned(site.relief(inner, height, 0.3), shadow), site.inside(0.4))


def shell(site: Site) -> Colours:
    """Return a conchoidal break: a smooth scoop with ripples about the point that was hit."""
    style = site.style
    x, y, _ = site.axes()
    reach = site.deepest * site.rng.uniform(1, 3)
    bearing = site.rng.uniform(0, 2 * np.pi)
    away = np.hypot(x - reach * math.cos(bearing), y - reach * math.sin(bearing)) + 2 * site.fractal(2)
    # Ripples crowd and fade irregularly, as the crack that made them slowed down.
    fade = np.maximum(site.fractal(2), 0) * style.rough * hollow(site.depth, 4)
    ripples = fade * np.sin(2 * np.pi * away / (2 * style.scale + 4) + 2 * site.fractal(2))
    scoop = style.depth / 8 * site.dome() + 0.5 * style.depth * hollow(site.depth, 2.5)
    height = scoop + ripples
    kept = 1 - style.opacity
    inner = site.calm() + kept * (site.photo - site.calm())
    inner = toned(inner, style.tone * (1 + 0.05 * site.fractal(1)))
    return layered(
        site.photo,
        site.relief(inner, height, 0.5),
        site.cover(0.2) / style.opacity,
    )


def gap(site: Site) -> Colours:
    """Return a piece broken off: what lies beneath, in the shadow of a torn, crumbly edge."""
    style = site.style
    beneath = toned(site.mixture(0.5 + 0.3 * site.fractal(1)), 1 + 0.25 * style.rough * site.grain(0.8))
    shadow = site.in_shadow(2 * abs(style.depth), 3)
    beneath = toned(beneath, 1 - 0.75 * shadow)
    crumbs = site.bumps(max(style.scale, 2.5))
    width = min(2 * abs(style.depth), 0.6 * site.deepest)
    torn = smoothstep(
        0.5, -0.5, (site.depth - width) / max(width / 2, 1) + 0.6 * crumbs + site.fractal(1.8) * 0.5
    )
    wall = site.relief(site.calm() * style.tone, crumbs * style.rough - 0.7 * site.depth)
    wall = toned(wall, 1 + 0.12 * site.grain(0.7))
    return layered(site.photo, layered(beneath, wall, torn), site.inside(0.3))


def dent(site: Site) -> Colours:
    """Return a dent or a bulge: the surface goes on over it, squeezed and shaded."""
    style = site.style
    height = style.depth / 8 * site.dome(0.4 + 0.6 * min(style.softness / 6, 1))
    wrinkles = 0.12 * style.rough * site.bumps(style.scale + 4) * hollow(site.depth, 4)
    return _draped(site, height + wrinkles)


def poke(site: Site) -> Colours:
    """Return a puncture: the surface sinks towards a small torn hole with pale, frayed lips."""
    style = site.style
    sunk = _draped(site, style.depth / 8 * site.dome())
    x, y, _ = site.axes()
    turn = site.rng.uniform(0, np.pi)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    size = max(site.deepest * site.rng.uniform(0.25, 0.5), 1.2)
    oval = np.hypot(u * site.rng.uniform(0.4, 0.9), v * site.rng.uniform(1, 2)) / size
    torn = oval + 0.18 * site.bumps(size + 2)
    lips = smoothstep(1.7, 1.3, torn) * smoothstep(0, 0.9, (u + v) / (1.2 * size) + 0.3 * site.bumps(5))
    pale = toned(
        np.broadcast_to(site.own_colour(), site.photo.shape), 1 + 0.2 * site.streaks(3, 0.7, turn)
    )
    opened = layered(sunk, pale, lips * style.opacity)
    return toned(opened, 1 - 0.85 * smoothstep(1.1, 0.7, torn + 0.3 * lips))


def scratch(site: Site) -> Colours:
    """Return a scratch: a ploughed groove with fine lines along it, fading here and there."""
    style = site.style
    along, _, heading = site.axes()
    fine = site.streaks(14, 0.6, heading)
    press = 0.85 + 0.25 * _sway(along, 6, site.rng)
    groove = np.minimum(site.depth, 2.5) * style.depth * 0.6 + 0.25 * fine
    worn = layered(
        site.calm(3) * style.tone,
        site.own_colour(),
        0.4 * style.opacity,
    )
    worn = toned(worn, 1 + style.rough * 0.2 * fine)
    cut = site.relief(worn, groove, 0.4)
    share = np.clip(press * (0.9 + 0.15 * fine), 0.3, 1) * site.fade
    return layered(site.photo, cut, share * style.opacity)


def crack(site: Site) -> Colours:
    """Return a crack: a dark core of changing width between slightly soiled, crumbling lips."""
    style = site.style
    middle = site.core(min(site.deepest, 3))
    broad = 0.12 * site.fractal(1.8) + 0.04 * site.grain(0.7)
    core = smoothstep(0.62, 0.95, middle + broad) * style.opacity
    lips = smoothstep(0, 2.5, site.depth) * (0.75 + 0.25 * site.grain(1.2))
    soiled = toned(site.photo, 1 - 0.22 * lips * style.rough)
    edges = site.relief(soiled, style.depth * np.minimum(site.depth, 3), 0.6)
    deep = site.own_colour() * 0.5 + site.calm() * 0.5 * style.tone
    return layered(edges, deep, core)


def blowhole(site: Site) -> Colours:
    """Return pits of trapped gas: smooth and dark, darkest towards the lamp, a lit lip opposite."""
    style = site.style
    inside = bowl(site.depth, 0.8 * site.deepest + 0.5)
    slope = 0.5 * (1 + site.facing_lamp().clip(-1, 1)) if site.deepest > 2 else 0.4
    dark = 1 - (1 - style.tone) * inside * (1.15 - 0.3 * slope)
    smooth = layered(site.photo, site.calm(4), inside * 0.8)
    pit = toned(smooth, dark * (1 + 0.12 * style.rough * site.bumps(4)))
    return site.relief(pit, style.depth * 0.4 * hollow(site.depth, 2), 0.6)


def fold(site: Site) -> Colours:
    """Return a crease: ridges along the defect, or ripples across it, over which the surface bends."""
    style = site.style
    along, across, _ = site.axes()
    wide = max(site.deepest, 2)
    sway = 0.35 * wide * _sway(along, 2 * wide, site.rng)
    lateral = (across + sway) / wide
    fade = hollow(site.depth, 0.5 * wide)
    ridge = np.exp(-((lateral / 0.35) ** 2)) - 0.6 * np.exp(-(((lateral - 0.7) / 0.35) ** 2))
    pitch = 3 * style.scale + 3
    swell = np.maximum(0.6 + 0.6 * site.bumps(3 * pitch), 0) * style.rough
    ripples = swell * np.sin(2 * np.pi * along / pitch + 2.5 * site.fractal(2) + lateral)
    height = fade * (0.12 * wide * style.depth * ridge + ripples * np.exp(-((lateral / 0.6) ** 2)))
    return _draped(site, height)


def cut(site: Site) -> Colours:
    """Return a slash: a dark slit, lips that curl up, the inside of the material torn out at an end."""
    style = site.style
    along, across, heading = site.axes()
    wide, long = max(site.deepest, 1.5), max(float(np.abs(along[site.mask]).max()), 3)
    sway = 0.3 * wide * _sway(along, wide, site.rng)
    open_at = smoothstep(-1, 0.9, along / long * site.rng.choice([-1, 1]) + 0.2 * site.fractal(1.5))
    lateral = (across + sway) / (wide * (0.15 + 0.55 * open_at))
    curled = site.relief(site.photo, style.depth * hollow(site.depth, wide))
    fibres = 0.6 * site.bumps(style.scale + 3, 1.0) + 0.4 * site.streaks(6, 1, heading + 1.2)
    flesh = site.relief(site.mixture(0.5 + 0.6 * site.fractal(1.6)), fibres, 0.2)
    raw = smoothstep(1.2, 0.9, np.abs(lateral) + 0.15 * fibres) * open_at * style.opacity
    lip = site.rng.choice([-1, 1]) * 0.7 * open_at
    slit = smoothstep(0.9, 0.4, np.abs(lateral - lip) * (1 + 2 * open_at) + 0.15 * site.bumps(6))
    slit = slit * smoothstep(-1.8, 0.4, site.bumps(14))
    return toned(layered(curled, flesh, raw), 1 - 0.88 * slit)


def thread(site: Site) -> Colours:
    """Return a faulty thread: a rib or gap with the beat of the yarn, its neighbours pushed aside."""
    style = site.style
    along, across, heading = site.axes()
    beat = np.sin(2 * np.pi * along / max(style.scale * 2, 2.5)) * style.rough
    round_yarn = bowl(site.depth, site.deepest) * (1 + 0.3 * beat)
    push = np.sign(across) * np.minimum(site.depth, 4) * 0.4
    pushed = moved(site.photo, -push * math.sin(heading), push * math.cos(heading))
    yarn = layered(pushed, site.own_colour(), (style.opacity) * site.fade)
    yarn = toned(yarn, style.tone * (1 + 0.15 * beat + 0.08 * site.grain(0.7)))
    return site.relief(yarn, style.depth * round_yarn, 0.4)


def flake(site: Site) -> Colours:
    """Return a top layer that came off: a crisp step down to a calmer layer of another tone."""
    style = site.style
    calm = site.calm()
    under = calm + (1 - style.opacity) * (site.photo - calm)
    under = layered(
        toned(under, style.tone + 0.02 * site.fractal(1)),
        site.own_colour(),
        0.5 * style.gloss,
    )
    under = toned(under, 1 + 0.06 * style.rough * (site.grain(0.7) + site.fractal(1)))
    step = style.depth * hollow(site.depth, 1.8) + 0.2 * style.rough * site.bumps(style.scale)
    stepped = site.relief(under, step, 0.5)
    return layered(site.photo, stepped, site.fade)


def _draped(site: Site, height: Field) -> Colours:
    """Return the surface bent over a relief: seen displaced by its slope, and lit by it."""
    across, down = slopes(height)
    bent = moved(site.photo, 1.5 * across, 1.5 * down)
    return toned(bent, shading(height, site.style.lamp, 0.55))


def _sway(along: Field, length: float, rng: np.random.Generator) -> Field:
    """Return a smooth random curve over positions along a defect: three waves, about 1 high."""
    wave = (2 * np.pi / length) / np.array([3.1, 5.3, 9.7])
    phase, high = rng.uniform(0, 2 * np.pi, 3), rng.normal(0, 0.8, 3)
    return single(np.sin(along[..., np.newaxis] * wave + phase) @ high)
