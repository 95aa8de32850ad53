"""What industrial things are made of: metals, coatings, polymers, minerals.

A material is a function from a size and a random stream to a `Slab`: its colour, its relief and its
gloss. One call is one material with its own scale, colour and strength; `organic` holds the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from blemish.synthesis.factory.scene import Colours, mix, smoothstep
from blemish.synthesis.patterns import procedural_texture
from blemish.synthesis.styles.fields import (
    Levels,
    bumps,
    cells,
    fractal,
    grain,
    lanes,
    log_uniform,
    positions,
    single,
    streaks,
)

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field


LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in the light of a grey photo (ITU-R 601-2)."""


class Slab(NamedTuple):
    """A piece of material. colour: (H, W, 3), 1 = white; height: px; gloss: of the mirror part."""

    colour: Colours
    height: Field
    gloss: float


Material: TypeAlias = Callable[[int, np.random.Generator], Slab]


def colour(
    rng: np.random.Generator,
    light: tuple[float, float] = (0.08, 0.92),
    vivid: tuple[float, float] = (0.0, 0.6),
) -> Colours:
    """Return a random colour of that lightness and vividness: float32 (3,)."""
    hue = rng.uniform(0, 2 * np.pi)
    tint = np.cos(hue - np.array([0, 2, 4]) * np.pi / 3)
    level = rng.uniform(*light)
    # Most things are muted: the square of a uniform number is small more often than not.
    strength = (vivid[0] + (vivid[1] - vivid[0]) * rng.random() ** 2) * min(level, 1.1 - level)
    return np.clip(level + strength * tint, 0.01, 1).astype(np.float32)


def metal_colour(rng: np.random.Generator) -> Colours:
    """Return a grey, or now and then a tinted, metal: steel, aluminium, brass, copper."""
    level = rng.uniform(0.2, 0.8)
    tints = ((1, 1, 1), (0.97, 1, 1.04), (1.12, 1.0, 0.72), (1.16, 0.92, 0.76))
    tint = np.array(tints[rng.choice(4, p=(0.5, 0.25, 0.15, 0.1))])
    return np.clip(level * tint, 0, 1).astype(np.float32)


def toned(base: Colours, field: Levels, contrast: float) -> Colours:
    """Return the base colour, (3,) or (H, W, 3), made lighter and darker by the field."""
    factor = np.maximum(1 + contrast * field, 0)[..., np.newaxis]
    return single(base * factor)


def brushed_metal(size: int, rng: np.random.Generator) -> Slab:
    """Return metal with long fine lines of one direction, some bright, over slow bands."""
    heading = _heading(rng)
    lines = streaks(size, rng, log_uniform(rng, 12, 90), rng.uniform(0.4, 0.9), heading)
    bands = lanes(size, rng, log_uniform(rng, 0.4, 8), heading)
    tone = lines + rng.uniform(0, 1.2) * bands + rng.uniform(0, 0.6) * fractal(size, rng)
    glints = np.maximum(lines - rng.uniform(1, 2.2), 0) * rng.uniform(0, 2.5)
    shade = toned(metal_colour(rng), tone + glints, log_uniform(rng, 0.03, 0.2))
    return Slab(shade, lines * np.float32(0.1), rng.uniform(0, 0.4))


def ground_metal(size: int, rng: np.random.Generator) -> Slab:
    """Return metal with the crossing or curved marks of a grinding wheel or a turning tool."""
    heading = rng.uniform(0, np.pi)
    lines = streaks(size, rng, log_uniform(rng, 6, 40), rng.uniform(0.4, 1.2), heading)
    if rng.random() < 0.5:
        other = heading + rng.normal(0.5, 0.3)
        lines = lines + rng.uniform(0.3, 1) * streaks(size, rng, 20, 0.6, other)
    else:
        x, y = positions(size)
        radius = np.hypot(x - rng.uniform(-2, 2) * size, y - rng.uniform(-2, 2) * size)
        feed = np.float32(2 * np.pi / log_uniform(rng, 2.5, 14))
        lines = lines * 0.6 + rng.uniform(0.3, 1.5) * np.sin(radius * feed)
    shade = toned(metal_colour(rng), lines, log_uniform(rng, 0.03, 0.18))
    return Slab(shade, single(lines * 0.15), rng.uniform(0, 0.5))


def cast_metal(size: int, rng: np.random.Generator) -> Slab:
    """Return metal with a sandy skin, with pores now and then."""
    skin = bumps(size, rng, log_uniform(rng, 3, 10), 0.6) + 0.5 * fractal(size, rng)
    pores = smoothstep(rng.uniform(1.5, 2.6), 3.0, grain(size, rng, rng.uniform(0.8, 1.6)))
    tone = 0.6 * fractal(size, rng, 1.2) - rng.uniform(0, 4) * pores
    shade = toned(metal_colour(rng) * np.float32(0.8), tone, log_uniform(rng, 0.03, 0.15))
    return Slab(shade, single(skin * log_uniform(rng, 0.1, 0.6)), rng.uniform(0, 0.3))


def galvanised(size: int, rng: np.random.Generator) -> Slab:
    """Return flat crystals of zinc, or the grain of an etched alloy or a solar wafer."""
    found = cells(size, rng, log_uniform(rng, 5, 40), 1, rng.uniform(0, 3), rng.uniform(1, 2))
    tone = found.tones(rng) + rng.uniform(0.1, 0.6) * streaks(size, rng, 8, 0.6, _heading(rng))
    shade = toned(metal_colour(rng), tone, log_uniform(rng, 0.04, 0.22))
    return Slab(shade, np.zeros((size, size), np.float32), rng.uniform(0, 0.4))


def painted(size: int, rng: np.random.Generator) -> Slab:
    """Return paint or powder coat: one colour with the relief of an orange's peel."""
    peel = bumps(size, rng, log_uniform(rng, 5, 24), 0.5)
    flakes = grain(size, rng, 0.5) * rng.choice([0.0, log_uniform(rng, 0.02, 0.1)])
    shade = toned(colour(rng), fractal(size, rng, 2) * 0.2 + flakes, log_uniform(rng, 0.02, 0.2))
    return Slab(shade, peel * np.float32(log_uniform(rng, 0.02, 0.5)), rng.uniform(0, 1))


def anodised(size: int, rng: np.random.Generator) -> Slab:
    """Return dyed aluminium: a fine matt grain with rolling lines under a saturated colour."""
    lines = streaks(size, rng, log_uniform(rng, 10, 60), 0.7, _heading(rng))
    tone = grain(size, rng, 0.6) + rng.uniform(0, 1) * lines
    shade = toned(colour(rng, (0.15, 0.7), (0.2, 0.9)), tone, log_uniform(rng, 0.015, 0.06))
    return Slab(shade, np.zeros((size, size), np.float32), rng.uniform(0.1, 0.7))


def glazed(size: int, rng: np.random.Generator) -> Slab:
    """Return ceramic, glass or polished plate: nearly even, with soft gradients and few specks."""
    clouds = fractal(size, rng, rng.uniform(1.8, 2.6))
    specks = smoothstep(2.6, 3.4, grain(size, rng, rng.uniform(0.6, 1.4)))
    tone = clouds - rng.uniform(0, 3) * specks
    shade = toned(colour(rng, (0.1, 0.97), (0, 0.4)), tone, log_uniform(rng, 0.01, 0.12))
    wave = fractal(size, rng, 2.5) * np.float32(rng.uniform(0, 3))
    return Slab(shade, wave, rng.uniform(0, 1))


def moulded(size: int, rng: np.random.Generator) -> Slab:
    """Return plastic from a textured mould: fine eroded grain, flow lines, sometimes ribs."""
    texture = bumps(size, rng, log_uniform(rng, 2.5, 9), 0.5)
    texture = np.minimum(texture, np.float32(rng.uniform(-0.3, 2)))
    height = texture * np.float32(log_uniform(rng, 0.05, 0.8))
    if rng.random() < 0.2:
        x, y = positions(size)
        heading = _heading(rng)
        across = x * math.cos(heading) + y * math.sin(heading)
        wave = np.sin(across * np.float32(2 * np.pi / log_uniform(rng, 6, 40)))
        height = height + rng.uniform(1, 4) * np.clip(wave * rng.choice([1, 4]), -1, 1)
    flow = fractal(size, rng, 2) * 0.5 + grain(size, rng, 0.5) * 0.5
    shade = toned(colour(rng), flow, log_uniform(rng, 0.01, 0.08))
    return Slab(shade, single(height), rng.uniform(0, 0.7))


def rubber(size: int, rng: np.random.Generator) -> Slab:
    """Return dark matt elastomer with pale dust on its grain."""
    texture = bumps(size, rng, log_uniform(rng, 3, 12), 0.7) + grain(size, rng, 0.7) * 0.5
    dust = np.maximum(texture + fractal(size, rng) - rng.uniform(0.5, 2.5), 0)
    base = toned(colour(rng, (0.06, 0.3), (0, 0.2)), texture, log_uniform(rng, 0.05, 0.25))
    pale = colour(rng, (0.4, 0.7), (0, 0.1))
    share = single(np.clip(dust * rng.uniform(0, 0.5), 0, 1))
    return Slab(mix(base, pale, share), texture * np.float32(0.25), rng.uniform(0, 0.3))


def stone(size: int, rng: np.random.Generator) -> Slab:
    """Return granite, terrazzo, concrete or asphalt: grains of two or three tones, clouds and pores."""
    pitch = log_uniform(rng, 2, 14)
    base, other = colour(rng, (0.25, 0.85), (0, 0.2)), colour(rng, (0.15, 0.9), (0, 0.25))
    speckle = fractal(size, rng, rng.uniform(0.2, 1.2))
    grains = bumps(size, rng, pitch, rng.uniform(0.3, 0.8))
    share = smoothstep(0, rng.uniform(0.2, 2), grains + rng.normal(0, 0.7))
    field = toned(base, speckle, log_uniform(rng, 0.04, 0.22))
    field = mix(field, other, single(share * rng.uniform(0.1, 0.9)))
    pits = smoothstep(1.6, 2.4, bumps(size, rng, pitch * rng.uniform(0.6, 2), 0.6))
    field = toned(field, -pits, rng.uniform(0, 0.7))
    rough = (grains * 0.5 + speckle) * np.float32(log_uniform(rng, 0.02, 0.6))
    return Slab(field, rough, rng.uniform(0, 0.15))


def circuit(size: int, rng: np.random.Generator) -> Slab:
    """Return a circuit board: conductors under lacquer, bare pads, drilled vias, silk print."""
    x, y = positions(size)
    pitch = log_uniform(rng, 8, 30)
    u, v = x / pitch + rng.uniform(50, 60), y / pitch + rng.uniform(50, 60)
    row, column = np.floor(v).astype(np.intp), np.floor(u).astype(np.intp)
    # Each tile of the grid carries a vertical, a horizontal or a slanted trace, or none.
    kind = rng.choice(5, (256, 256), p=(0.25, 0.2, 0.15, 0.15, 0.25))[row % 256, column % 256]
    du, dv = u - column - 0.5, v - row - 0.5
    gap = np.choose(kind, (np.abs(du), np.abs(dv), np.abs(du - dv) * 0.7, np.abs(du + dv) * 0.7, 1))
    blur = 1.2 / pitch
    width = rng.uniform(0.08, 0.3)
    trace = smoothstep(width + blur, width - blur, single(gap))
    radius = np.hypot(du, dv)
    padded = rng.random((256, 256))[row % 256, column % 256] < rng.uniform(0, 0.3)
    pad = smoothstep(0.36 + blur, 0.36 - blur, radius) * padded
    hole = smoothstep(0.17 + blur, 0.17 - blur, radius) * padded
    lacquer = colour(rng, (0.1, 0.45), (0.3, 1.0))
    board = toned(lacquer, fractal(size, rng, 0.5), 0.04)
    board = mix(board, np.minimum(lacquer * np.float32(rng.uniform(1.2, 1.8)), 1), trace)
    board = mix(board, metal_colour(rng), single(pad))
    board = mix(board, np.float32(0.05) * lacquer, single(hole))
    height = single(trace * 0.8 + pad * 0.5 - hole * 2)
    return Slab(board, height, rng.uniform(0.1, 0.8))


def printed(size: int, rng: np.random.Generator) -> Slab:
    """Return a sheet with print: flat shapes, bars or dots in one or two inks."""
    paper = toned(
        colour(rng, (0.3, 0.97), (0, 0.4)), fractal(size, rng, 0.8), log_uniform(rng, 0.01, 0.05)
    )
    height = grain(size, rng, 0.8) * np.float32(0.05)
    for _ in range(rng.integers(1, 3)):
        x, y = positions(size)
        heading = rng.choice([0.0, rng.uniform(0, np.pi)])
        u = (x * math.cos(heading) + y * math.sin(heading)) / log_uniform(rng, 4, 40) + 50
        v = (y * math.cos(heading) - x * math.sin(heading)) / log_uniform(rng, 4, 40) + 50
        row, column = np.floor(v).astype(np.intp), np.floor(u).astype(np.intp)
        du, dv = u - column - 0.5, v - row - 0.5
        shape = (
            np.maximum(np.abs(du), np.abs(dv)),
            np.hypot(du, dv),
            np.abs(du),
            np.abs(du) + np.abs(dv),
        )
        gap = single(shape[rng.integers(4)])
        there = rng.random((512, 512))[row % 512, column % 512] < rng.uniform(0.2, 1)
        limit = rng.uniform(0.15, 0.5)
        ink = smoothstep(limit + 0.06, limit - 0.06, gap) * there * rng.uniform(0.5, 1)
        paper = mix(paper, colour(rng, (0.05, 0.8), (0, 1)), single(ink))
    return Slab(paper, height, rng.uniform(0, 0.6))


def patterned(size: int, rng: np.random.Generator) -> Slab:
    """Return any pattern in any palette, of muted contrast: what no list of materials foresees."""
    texture = procedural_texture(size, rng).astype(np.float32) * np.float32(1 / 255)
    mean = texture.mean(axis=(0, 1))
    muted = mean + (texture - mean) * np.float32(log_uniform(rng, 0.15, 1))
    height = muted.mean(axis=2) * np.float32(rng.uniform(0, 8))
    return Slab(muted, height, rng.uniform(0, 0.4))


def _heading(rng: np.random.Generator) -> float:
    """Return a direction: along an axis of the picture, as fixtures hold parts, or any."""
    square = float(rng.choice([0, np.pi / 2])) + rng.normal(0, 0.03)
    return float(square if rng.random() < 0.6 else rng.uniform(0, np.pi))
