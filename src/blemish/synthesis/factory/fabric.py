"""Chambray on the inspection table: pale warp, blue weft, plain weave."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from blemish.synthesis.factory.scene import (
    Camera,
    Colours,
    develop,
    grid,
    mix,
    shifted,
    slopes,
    smoothstep,
    soften,
    value_noise,
)

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field, Image

YARNS = 30
"""Yarns across the photo."""

WARP = np.array([0.33, 0.38, 0.45], np.float32)
WEFT = np.array([0.095, 0.165, 0.29], np.float32)
TABLE = np.array([0.022, 0.020, 0.019], np.float32)
OIL = np.array([0.24, 0.16, 0.08], np.float32)
LINT = np.array([0.52, 0.09, 0.07], np.float32)
GONE = np.float32(-3)


@dataclass(slots=True)
class Cloth:
    """The two sets of yarns, what has soaked into them, and what lies on top.

    across, along: yarn coordinates; warp, weft: height of each yarn's surface, GONE where it is
    missing, in yarn radii; dye: factor on the colour (H, W, 3); lint: foreign fibre as (coverage,
    height in px), both (H, W).
    """

    across: Field
    along: Field
    warp: Field
    weft: Field
    dye: Colours
    lint: tuple[Field, Field] | None = None


Damage: TypeAlias = Callable[[Cloth], None]
"""What happens to one product; changes it in place."""


def draw(size: int, scene: np.random.Generator, damage: Damage | None = None) -> Image:
    """Return a photo: uint8 RGB (size, size, 3), of a good product or after some damage.

    The scene, camera and sensor noise are drawn from `scene` alone: the same stream gives the same
    photo but for the damage.
    """
    cloth, warp_colour, weft_colour = weave(size, scene)
    camera = Camera.draw(scene)
    if damage is not None:
        damage(cloth)
    return photograph(cloth, warp_colour, weft_colour, camera)


def weave(size: int, rng: np.random.Generator) -> tuple[Cloth, Colours, Colours]:
    """Return a good piece of cloth, and the colours of its warp and weft."""
    yarns = _yarn_count(size)
    x, y = grid(size)
    turn = rng.normal(0, 0.02)
    offset = rng.uniform(0, 2, 2)
    sag = 0.0015 * value_noise(size, 3, rng), 0.0015 * value_noise(size, 3, rng)
    across = (x * math.cos(turn) + y * math.sin(turn) + sag[0]) * yarns + np.float32(40 + offset[0])
    along = (y * math.cos(turn) - x * math.sin(turn) + sag[1]) * yarns + np.float32(40 + offset[1])
    warp_number, weft_number = across.astype(np.intp), along.astype(np.intp)
    thick = rng.normal(0.93, 0.035, (2, 128)).astype(np.float32)
    tone = rng.normal(1, 0.10, (2, 128)).astype(np.float32)
    warp = _yarn(across, thick[0][warp_number]) + _wave(along, warp_number)
    weft = _yarn(along, thick[1][weft_number]) + _wave(across, weft_number + 1)
    # Short plies wind around each yarn; together with slubs they keep the weave from looking drawn.
    slub = value_noise(size, 2 * yarns, rng)
    plies = [
        1 + 0.10 * np.sin(2 * np.pi * (1.6 * ahead + 1.1 * aside)) + 0.07 * slub
        for ahead, aside in ((along, across), (across, along))
    ]
    warp_colour = WARP * (tone[0][warp_number] * plies[0])[..., np.newaxis]
    weft_colour = WEFT * (tone[1][weft_number] * plies[1])[..., np.newaxis]
    cloth = Cloth(across, along, warp, weft, np.ones((size, size, 3), np.float32))
    return cloth, warp_colour, weft_colour


def photograph(cloth: Cloth, warp_colour: Colours, weft_colour: Colours, camera: Camera) -> Image:
    """Return the photo of a piece of cloth on the dark table: uint8 RGB (H, W, 3)."""
    size = cloth.warp.shape[0]
    pitch = size / _yarn_count(size)
    height = np.maximum(np.maximum(cloth.warp, cloth.weft), -1.6)
    # About one pixel wide, so that the edges between yarns are not jagged.
    warp_above = np.clip((cloth.warp - cloth.weft) * np.float32(pitch / 6) + 0.5, 0, 1)
    colour = mix(weft_colour, warp_colour, warp_above)
    covered = smoothstep(-1.5, -0.9, height)
    colour = mix(TABLE, colour * cloth.dye, covered)
    lamp_x, lamp_y = camera.towards_lamp
    across, down = slopes(height * np.float32(pitch * 0.26))
    steep = 1 / np.sqrt(1 + across**2 + down**2)
    lit = np.maximum((0.8 - (across * lamp_x + down * lamp_y) * 0.6) * steep, 0.03)
    # Valleys between yarns see less of the sky.
    open_sky = 0.30 + 0.70 * smoothstep(-1.2, 1.3, height)
    light = colour * (open_sky * (0.25 + 1.15 * lit))[..., np.newaxis]
    if cloth.lint is not None:
        coverage, ridge = cloth.lint
        across, down = slopes(ridge)
        shade = np.clip(0.85 - 0.55 * (across * lamp_x + down * lamp_y), 0.1, 1.6)
        reach = 0.012 * size
        shadow = soften(shifted(coverage, -lamp_x * reach, -lamp_y * reach), reach * 0.5)
        light = light * (1 - 0.55 * shadow)[..., np.newaxis]
        light = mix(light, (LINT * shade[..., np.newaxis]).astype(np.float32), coverage)
    return develop(light, camera)


def _oval(
    size: int, radii: tuple[float, float], stretching: float, rng: np.random.Generator
) -> tuple[Field, float]:
    """Return the stretched distance (size, size) from a random place, and a random radius."""
    x, y = grid(size)
    at = rng.uniform(-0.33, 0.33, 2)
    radius = rng.uniform(*radii)
    stretch = math.exp(rng.normal(0, stretching))
    distance: Field = np.hypot((x - at[0]) * stretch, (y - at[1]) / stretch)
    return distance, radius


def hole(cloth: Cloth, rng: np.random.Generator) -> None:
    """Tear some yarns: a ragged opening, longer along the yarns that gave way."""
    size = cloth.warp.shape[0]
    away, radius = _oval(size, (0.025, 0.07), 0.3, rng)
    away = away + 0.18 * radius * value_noise(size, 14, rng)
    # Every yarn breaks at its own place, so the rim is ragged in steps of one yarn.
    ends = rng.normal(0, 0.22 * radius, (2, 128)).astype(np.float32)
    warp_gone = away + ends[0][cloth.across.astype(np.intp)] < radius
    weft_gone = away + ends[1][cloth.along.astype(np.intp)] < radius
    cloth.warp = np.where(warp_gone, GONE, cloth.warp)
    cloth.weft = np.where(weft_gone, GONE, cloth.weft)


def stain(cloth: Cloth, rng: np.random.Generator) -> None:
    """Drip oil: it spreads along the yarns and dries with a darker rim; faint to strong."""
    size = cloth.warp.shape[0]
    distance, radius = _oval(size, (0.06, 0.14), 0.25, rng)
    away = distance / radius
    away = away + 0.10 * value_noise(size, 8, rng) + 0.05 * value_noise(size, 30, rng)
    soaked = smoothstep(1.06, 0.92, away)
    rim = np.exp(-(((away - 0.93) / 0.09) ** 2))
    strength = rng.uniform(0.3, 0.85)
    depth = np.clip(strength * soaked * (0.75 + 0.45 * rim), 0, 1)
    cloth.dye = mix(cloth.dye, cloth.dye * OIL, depth)


def loose_thread(cloth: Cloth, rng: np.random.Generator) -> None:
    """Drop a red fibre from another article: a round thread in a lazy curve, with its shadow."""
    size = cloth.warp.shape[0]
    x, y = grid(size)
    turn = rng.uniform(0, np.pi)
    at = rng.uniform(-0.25, 0.25, 2)
    ahead = (x - at[0]) * math.cos(turn) + (y - at[1]) * math.sin(turn)
    aside = (y - at[1]) * math.cos(turn) - (x - at[0]) * math.sin(turn)
    length = rng.uniform(0.08, 0.28)
    bend = rng.uniform(0.01, 0.05), rng.uniform(8, 18), rng.uniform(0, 2 * np.pi)
    middle = bend[0] * np.sin(ahead * bend[1] + bend[2])
    tilt = bend[0] * bend[1] * np.cos(ahead * bend[1] + bend[2])
    away = np.abs(aside - middle) / np.sqrt(1 + tilt**2) * size
    radius = rng.uniform(0.0055, 0.0085) * size
    ends = smoothstep(length + 0.004, length - 0.004, np.abs(ahead))
    coverage = np.clip(radius + 0.5 - away, 0, 1) * ends
    ridge = np.sqrt(np.maximum(radius**2 - away**2, 0)) + 0.25 * np.sin(ahead * size * 1.3 + away)
    cloth.lint = coverage, ridge.astype(np.float32)


def missing_yarn(cloth: Cloth, rng: np.random.Generator) -> None:
    """Lose one or two weft yarns over part of the width: a low-contrast line."""
    size = cloth.warp.shape[0]
    x, _ = grid(size)
    along = cloth.along
    low, high = float(along.min()) + 3, float(along.max()) - 5
    first = int(rng.uniform(low, high))
    count = int(rng.integers(1, 3))
    middle, half = rng.uniform(-0.25, 0.25), rng.uniform(0.12, 0.45)
    number = along.astype(np.intp)
    gone = (number >= first) & (number < first + count) & (np.abs(x - middle) < half)
    cloth.weft = np.where(gone, GONE, cloth.weft)
    # Without the weft the warp lies flat and low, and spreads until its yarns touch.
    flat = _yarn(cloth.across, np.float32(1.0)) - np.float32(0.75)
    cloth.warp = np.where(gone, flat, cloth.warp)


def _yarn_count(size: int) -> int:
    """Return the yarns across a photo: fewer on small photos, where they would alias."""
    return min(YARNS, size // 5)


def _yarn(across: Field, thickness: Field | np.float32) -> Field:
    """Return the round profile of yarns one unit apart: 0..1, and GONE in the gaps."""
    aside = 2 * (across - np.floor(across)) - 1
    round_ = 1 - (aside / thickness) ** 2
    return np.asarray(np.where(round_ > 0, np.sqrt(np.maximum(round_, 0)), GONE), np.float32)


def _wave(ahead: Field, number: npt.NDArray[np.intp]) -> Field:
    """Return the height of a yarn's axis as it goes over and under the others: -0.8..0.8."""
    sign = (1 - 2 * (number % 2)).astype(np.float32)
    wave: Field = np.float32(0.8) * sign * np.sin(np.float32(np.pi) * ahead)
    return wave


DEFECTS: dict[str, Callable[[Cloth, np.random.Generator], None]] = {
    "hole": hole,
    "stain": stain,
    "loose_thread": loose_thread,
    "missing_yarn": missing_yarn,
}
