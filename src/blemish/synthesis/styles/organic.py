"""Materials that grow, are woven or are baked: wood, cloth, leather, paper, food."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from blemish.synthesis.factory.scene import mix, smoothstep
from blemish.synthesis.styles.fields import (
    bumps,
    cells,
    fractal,
    grain,
    log_uniform,
    positions,
    single,
    streaks,
)
from blemish.synthesis.styles.materials import Slab, colour, toned

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field


def wood(size: int, rng: np.random.Generator) -> Slab:
    """Return planed wood: year rings cut along the trunk, fibres, dark pores."""
    across, along, heading = _turned(size, rng)
    pitch = log_uniform(rng, 5, 45)
    drift = fractal(size, rng, 2.2) * rng.uniform(0.1, 1.2)
    centre = rng.uniform(-2, 2) * size
    rings = np.hypot(across - centre, along * rng.uniform(0.02, 0.25)) / pitch + drift
    season = np.mod(rings, 1) ** rng.uniform(0.6, 3)
    fibres = streaks(size, rng, log_uniform(rng, 10, 40), 0.7, heading)
    pores = np.maximum(streaks(size, rng, rng.uniform(3, 8), 0.5, heading) - rng.uniform(1.2, 2.2), 0)
    tone = rng.uniform(0.3, 2) * (0.5 - season) + rng.uniform(0.2, 0.8) * fibres
    tone = single(tone - rng.uniform(0, 2) * pores)
    brown = np.array([1, rng.uniform(0.6, 0.82), rng.uniform(0.3, 0.62)], np.float32)
    base = brown * np.float32(rng.uniform(0.25, 0.92))
    height = single(fibres * 0.1 - pores * 0.5)
    return Slab(toned(base, tone, log_uniform(rng, 0.05, 0.25)), height, rng.uniform(0, 0.5))


def woven(size: int, rng: np.random.Generator) -> Slab:
    """Return cloth: warp and weft, plain, twill or satin, each yarn of its own tone and thickness."""
    across, along, heading = _turned(size, rng)
    pitch = log_uniform(rng, 3.0, 16)
    sag = bumps(size, rng, 6 * pitch + 12, 0.6) * np.float32(rng.uniform(0, 0.25))
    u = across / pitch + sag + 200
    v = along / (pitch * rng.uniform(0.7, 1.4)) + sag + 200
    column, row = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    repeat, shift = ((2, 1), (3, 1), (4, 1), (5, 2))[rng.choice(4, p=(0.45, 0.2, 0.2, 0.15))]
    over = np.mod(column + shift * row, repeat) == 0
    du, dv = u - column - 0.5, v - row - 0.5
    tones = rng.normal(0, rng.uniform(0.02, 0.5), (2, 1024)).astype(np.float32)
    tone = np.where(over, tones[0][column % 1024], tones[1][row % 1024])
    round_yarn = np.where(over, np.sqrt(1.02 - 4 * du**2), np.sqrt(1.02 - 4 * dv**2))
    crown = np.where(over, np.cos(np.pi * dv), np.cos(np.pi * du))
    profile = single(round_yarn * (0.6 + 0.4 * crown))
    ply = streaks(size, rng, 0.3 * pitch + 0.6, 0.5, heading + 0.7)
    warp, weft = colour(rng), colour(rng)
    if rng.random() < 0.6:
        weft = warp
    base = mix(warp, weft, single(~over))
    shade = tone + rng.uniform(0.2, 2.5) * (profile - 0.7) + rng.uniform(0.1, 0.6) * ply
    height = profile * np.float32(pitch * rng.uniform(0.05, 0.25)) + ply * np.float32(0.1)
    cloth = toned(base, single(shade), log_uniform(rng, 0.08, 0.35))
    return Slab(cloth, single(height), rng.uniform(0, 0.2))


def felt(size: int, rng: np.random.Generator) -> Slab:
    """Return matted fibres: carpet, foam, fleece, fibre board."""
    width = rng.uniform(0.5, 1.2)
    long = log_uniform(rng, 2, 12)
    hair = np.maximum(streaks(size, rng, long, width, rng.uniform(0, np.pi)), -1)
    for _ in range(2):
        hair = np.maximum(hair, streaks(size, rng, long, width, rng.uniform(0, np.pi)))
    hair = hair + 0.5 * fractal(size, rng, 1)
    shade = toned(colour(rng), hair - hair.mean(), log_uniform(rng, 0.05, 0.3))
    return Slab(shade, hair * np.float32(rng.uniform(0.1, 0.6)), 0.0)


def leather(size: int, rng: np.random.Generator) -> Slab:
    """Return hide or grained plastic: cushions between creases, with fine pores."""
    pitch = log_uniform(rng, 5, 24)
    found = cells(size, rng, pitch, 1, 0.25 * pitch, rng.uniform(1, 1.7))
    gap = (found.second - found.first) / np.float32(pitch)
    crease = 1 - smoothstep(0, rng.uniform(0.15, 0.6), gap)
    fade = np.clip(0.75 + 0.4 * fractal(size, rng, 1.5), 0, 1.3)
    pores = fractal(size, rng, 0.7)
    height = (1 - crease * fade) * np.float32(pitch * rng.uniform(0.05, 0.22)) + 0.15 * pores
    tone = -crease * fade * rng.uniform(0, 1.5) + 0.3 * pores
    hide = np.array([1, rng.uniform(0.4, 0.9), rng.uniform(0.25, 0.85)], np.float32)
    base = hide * np.float32(rng.uniform(0.15, 0.85)) if rng.random() < 0.6 else colour(rng)
    shade = toned(base, single(tone), log_uniform(rng, 0.1, 0.45))
    return Slab(shade, single(height), rng.uniform(0, 0.6))


def paper(size: int, rng: np.random.Generator) -> Slab:
    """Return paper or cardboard: cloudy pulp, stray fibres, sometimes the flutes below."""
    pulp = fractal(size, rng, rng.uniform(0.7, 1.5))
    fibres = np.maximum(streaks(size, rng, 5, 0.5, rng.uniform(0, np.pi)) - 2, 0)
    tone = pulp - rng.uniform(0, 1.5) * fibres
    height = pulp * np.float32(0.2)
    if rng.random() < 0.3:
        across, _, _ = _turned(size, rng)
        wave = np.sin(across * (2 * np.pi / log_uniform(rng, 6, 25)))
        tone, height = tone + 0.7 * wave, height + 0.5 * wave
    pale = np.array([1, rng.uniform(0.8, 1), rng.uniform(0.55, 1)], np.float32)
    shade = toned(pale * np.float32(rng.uniform(0.5, 0.97)), tone, log_uniform(rng, 0.015, 0.1))
    return Slab(shade, single(height), 0.0)


def crust(size: int, rng: np.random.Generator) -> Slab:
    """Return baked, roasted or grown skin: rough, browned on its bumps, with crumbs and inclusions."""
    pitch = log_uniform(rng, 5, 28)
    swell = bumps(size, rng, pitch, 0.8)
    crumbs = bumps(size, rng, rng.uniform(2.5, 5), 0.6)
    rough = swell + 0.4 * crumbs + 0.5 * fractal(size, rng, 1.3)
    pale = np.array([1, rng.uniform(0.72, 0.9), rng.uniform(0.35, 0.7)], np.float32)
    light = pale * np.float32(rng.uniform(0.5, 0.97))
    dark = light * np.array([0.75, 0.55, 0.4], np.float32)
    share = smoothstep(-1.5, 2.5, single(swell + 0.5 * fractal(size, rng, 2) + rng.normal(0, 0.5)))
    shade = toned(mix(light, dark, share), rough, log_uniform(rng, 0.03, 0.12))
    height = rough * np.float32(rng.uniform(0.2, 0.9))
    if rng.random() < 0.4:
        lumps = smoothstep(1.7, 2.1, bumps(size, rng, log_uniform(rng, 10, 40), 0.5))
        shade = mix(shade, colour(rng, (0.06, 0.5), (0.1, 0.5)), lumps)
        height = height + 2 * lumps
    return Slab(shade, single(height), rng.uniform(0, 0.25))


def tufted(size: int, rng: np.random.Generator) -> Slab:
    """Return knit, mesh or punched grids: rows of loops or holes, each a little out of place."""
    across, along, _ = _turned(size, rng)
    pitch = log_uniform(rng, 4, 20)
    wobble = bumps(size, rng, 4 * pitch + 8, 0.6) * np.float32(rng.uniform(0, 0.2))
    u = across / pitch + wobble + 100
    v = along / (pitch * rng.uniform(0.6, 1.6)) + wobble + 100
    row = np.floor(v)
    u = u + 0.5 * np.mod(row, 2) * rng.integers(0, 2)
    du, dv = np.mod(u, 1) - 0.5, v - row - 0.5
    if rng.random() < 0.5:
        dv = dv + rng.uniform(0.3, 1.2) * np.abs(du)
    dome = single(np.clip(1 - 4 * (du**2 + dv**2) * rng.uniform(0.6, 1.4), 0, 1))
    dome *= rng.choice([-1, 1])
    shade = toned(colour(rng), dome + 0.3 * grain(size, rng, 0.6), log_uniform(rng, 0.1, 0.6))
    return Slab(shade, dome * np.float32(pitch * rng.uniform(0.05, 0.25)), rng.uniform(0, 0.5))


def _turned(size: int, rng: np.random.Generator) -> tuple[Field, Field, float]:
    """Return positions across and along a random direction, px, and the direction itself."""
    x, y = positions(size)
    square = float(rng.choice([0, np.pi / 2])) + rng.normal(0, 0.04)
    heading = float(square if rng.random() < 0.6 else rng.uniform(0, np.pi))
    cos, sin = np.float32(math.cos(heading)), np.float32(math.sin(heading))
    return y * cos - x * sin, x * cos + y * sin, heading
