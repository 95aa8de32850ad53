"""A machined hexagon nut on a rubber conveyor."""

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

STEEL = np.array([0.42, 0.43, 0.44], np.float32)
BELT = np.array([0.026, 0.040, 0.036], np.float32)
RUST = np.array([0.30, 0.095, 0.025], np.float32)
DARK_RUST = np.array([0.075, 0.024, 0.010], np.float32)
FRACTURE = np.array([0.16, 0.16, 0.165], np.float32)

FLATS = 0.300
"""From the centre to a side of the hexagon, in photo sides."""
BORE = 0.165
FACE = 0.286
"""Radius of the flat face; beyond it the corners slope down to the belt."""


@dataclass(slots=True)
class Nut:
    """A nut as a height field with a finish.

    x, y: position from the axis, in photo sides, along the nut's own axes; height: px above the
    face; solid: coverage of the metal in [0, 1]; finish: reflectance (H, W, 3); polish: strength
    of the mirror part; turn: its angle on the belt, radians.
    """

    x: Field
    y: Field
    radius: Field
    bearing: Field
    height: Field
    solid: Field
    finish: Colours
    polish: Field
    turn: float


Damage: TypeAlias = Callable[[Nut], None]
"""What happens to one product; changes it in place."""


def draw(size: int, scene: np.random.Generator, damage: Damage | None = None) -> Image:
    """Return a photo: uint8 RGB (size, size, 3), of a good product or after some damage.

    The scene, camera and sensor noise are drawn from `scene` alone: the same stream gives the same
    photo but for the damage.
    """
    nut, belt = turned_nut(size, scene)
    camera = Camera.draw(scene)
    if damage is not None:
        damage(nut)
    return photograph(nut, belt, camera)


def turned_nut(size: int, rng: np.random.Generator) -> tuple[Nut, Colours]:
    """Return a good nut, and the belt it lies on (linear RGB)."""
    x, y = grid(size)
    at = rng.normal(0, 0.012, 2)
    turn = rng.uniform(0, np.pi / 3)
    dx, dy = x - np.float32(at[0]), y - np.float32(at[1])
    nx = dx * np.float32(math.cos(turn)) + dy * np.float32(math.sin(turn))
    ny = dy * np.float32(math.cos(turn)) - dx * np.float32(math.sin(turn))
    radius = np.hypot(nx, ny)
    flats = _hexagon(nx, ny)
    solid = np.clip((FLATS - flats) * size + 0.5, 0, 1) * np.clip((radius - BORE) * size + 0.5, 0, 1)
    outer = np.maximum(radius - FACE, 0) * np.float32(0.55 * size)
    inner = np.maximum(BORE + 0.020 - radius, 0) * np.float32(0.8 * size)
    rounding = smoothstep(FLATS - 0.012, FLATS, flats) * np.float32(0.012 * size)
    # Facing on a lathe leaves concentric grooves, different for every nut.
    groove = np.interp(radius.ravel(), np.linspace(0, 0.5, 400), rng.normal(0, 1, 400))
    grooves = groove.reshape(radius.shape).astype(np.float32) * smoothstep(FACE, FACE - 0.01, radius)
    height = -outer - inner - rounding + np.float32(0.045) * grooves
    shade = 1 + 0.05 * grooves + 0.03 * value_noise(size, 5, rng)
    finish = STEEL * np.float32(rng.normal(1, 0.03)) * shade[..., np.newaxis]
    nut = Nut(nx, ny, radius, np.arctan2(dy, dx), height, solid, finish, np.ones_like(radius), turn)
    knurl = np.sin((x + y) * (2 * np.pi * 44)) * np.sin((x - y) * (2 * np.pi * 44))
    wear = 1 + 0.30 * knurl + 0.10 * value_noise(size, 6, rng) + 0.16 * value_noise(size, 90, rng)
    return nut, BELT * wear[..., np.newaxis].astype(np.float32)


def photograph(nut: Nut, belt: Colours, camera: Camera) -> Image:
    """Return the photo of a nut on its belt under a soft lamp: uint8 RGB (H, W, 3)."""
    size = nut.radius.shape[0]
    lamp_x, lamp_y = camera.towards_lamp
    shadow = soften(shifted(nut.solid, -0.022 * size * lamp_x, -0.022 * size * lamp_y), 0.014 * size)
    contact = soften(nut.solid, 0.006 * size)
    x, y = grid(size)
    pool = 1.15 + 0.9 * (x * lamp_x + y * lamp_y)
    ground = belt * (pool * (1 - 0.72 * shadow) * (1 - 0.35 * contact))[..., np.newaxis]
    # Looking down the bore: thread crests catch light on the side away from the lamp.
    depth = (BORE - nut.radius) / 0.030
    winding = 0.5 + 0.5 * np.cos(2 * np.pi * (depth * 2.2 + nut.bearing / (2 * np.pi)))
    facing = 0.55 - 0.45 * np.cos(nut.bearing - camera.lamp)
    crest = np.clip(winding * facing * 0.55 + 0.03, 0, 1) * smoothstep(1.05, 0.0, depth)
    in_bore = smoothstep(1.0, 0.85, depth) * (nut.radius < BORE + 0.01)
    ground = mix(
        ground * (1 - 0.45 * (nut.radius < BORE))[..., np.newaxis],
        STEEL * crest[..., np.newaxis],
        in_bore,
    )
    across, down = slopes(nut.height)
    tilt = across * lamp_x + down * lamp_y
    # Grooves in rings spread the lamp's mirror image into two fans across the face.
    fan = np.cos(nut.bearing - camera.lamp) ** 2
    flat = smoothstep(FACE + 0.004, FACE - 0.004, nut.radius)
    fans = 0.42 + 0.85 * fan**3 + 0.12 * (1 - fan) ** 8
    mirror = 0.74 + (fans - 0.74) * flat
    reflected = np.clip(mirror - 0.95 * tilt, 0.06, 1.7)
    diffuse = np.clip(0.62 - 0.5 * tilt, 0.05, 1.4)
    light = nut.finish * (nut.polish * reflected + (1 - nut.polish) * diffuse)[..., np.newaxis]
    return develop(mix(ground, light, nut.solid), camera)


def scratch(nut: Nut, rng: np.random.Generator) -> None:
    """Slip with a tool: one to three grooves across the face, with a burr along one side."""
    size = nut.radius.shape[0]
    turn = rng.uniform(0, np.pi)
    at = _on_the_face(rng)
    for _ in range(rng.integers(1, 4)):
        ahead, aside = _along(nut, at + rng.normal(0, 0.012, 2), turn + rng.normal(0, 0.1))
        half = rng.uniform(0.04, 0.11)
        reach = np.clip(1 - (ahead / half) ** 2, 0, 1)
        away = (aside - rng.normal(0, 1.2) * ahead**2) * size
        width = rng.uniform(0.5, 1.1) * size / 256
        cut = np.exp(-((away / width) ** 2)) * np.sqrt(reach)
        burr = np.exp(-(((away - 1.6 * width) / width) ** 2)) * reach
        nut.height = nut.height + np.float32(rng.uniform(0.5, 1.1)) * (0.4 * burr - cut)
        nut.finish = nut.finish * (1 - 0.45 * cut + 0.25 * burr)[..., np.newaxis]


def rust(nut: Nut, rng: np.random.Generator) -> None:
    """Leave the nut in the damp: a blotch of rust, brown and rough, with satellites."""
    size = nut.radius.shape[0]
    at = _on_the_face(rng)
    extent = rng.uniform(0.03, 0.085)
    away = np.hypot(nut.x - np.float32(at[0]), nut.y - np.float32(at[1])) / np.float32(extent)
    bloom = 1.1 - away + 0.28 * value_noise(size, 18, rng) + 0.22 * value_noise(size, 50, rng)
    cover = smoothstep(0.1, 0.5, bloom) * np.float32(rng.uniform(0.55, 1)) * nut.solid
    mottled = smoothstep(-1, 1, value_noise(size, 70, rng))
    nut.finish = mix(nut.finish, mix(RUST, DARK_RUST, mottled), cover)
    nut.polish = nut.polish * (1 - cover)
    nut.height = nut.height + 0.5 * cover * value_noise(size, 110, rng)


def chip(nut: Nut, rng: np.random.Generator) -> None:
    """Break a corner off: an irregular edge, and a dull, grainy fracture behind it."""
    size = nut.radius.shape[0]
    corner = np.pi / 6 + np.pi / 3 * rng.integers(6)
    ahead = nut.x * np.float32(math.cos(corner)) + nut.y * np.float32(math.sin(corner))
    edge = np.float32(rng.uniform(0.285, 0.318)) + 0.006 * value_noise(size, 20, rng)
    edge = edge + np.float32(rng.normal(0, 0.15)) * (
        nut.y * np.float32(math.cos(corner)) - nut.x * np.float32(math.sin(corner))
    )
    nut.solid = nut.solid * np.clip((edge - ahead) * size + 0.5, 0, 1)
    broken = smoothstep(-0.026, -0.018, ahead - edge + 0.004 * value_noise(size, 40, rng))
    grain = value_noise(size, 100, rng)
    nut.finish = mix(nut.finish, FRACTURE * (1 + 0.35 * grain)[..., np.newaxis], broken)
    nut.polish = nut.polish * (1 - broken)
    nut.height = nut.height + broken * (0.5 * grain - (ahead - edge + 0.02) * size * np.float32(0.8))


def dent(nut: Nut, rng: np.random.Generator) -> None:
    """Drop the nut on something hard: a shallow pit with a raised rim, no change of colour."""
    size = nut.radius.shape[0]
    ahead, aside = _along(nut, _on_the_face(rng), rng.uniform(0, np.pi))
    extent = rng.uniform(0.012, 0.026)
    away = np.hypot(ahead / np.float32(extent), aside / np.float32(extent * rng.uniform(0.6, 1)))
    pit = np.exp(-(away**2)) - 0.35 * np.exp(-(((away - 1.5) / 0.45) ** 2))
    nut.height = nut.height - np.float32(rng.uniform(0.3, 0.75) * extent * size) * pit


def _hexagon(x: Field, y: Field) -> Field:
    """Return the distance from the centre measured towards the nearest side of a hexagon."""
    slant = np.float32(math.sqrt(3) / 2)
    return np.maximum(np.abs(x), np.abs(x) * np.float32(0.5) + np.abs(y) * slant)


def _on_the_face(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a place on the flat face, between bore and chamfer, in the nut's own axes."""
    radius, bearing = rng.uniform(BORE + 0.045, FACE - 0.03), rng.uniform(0, 2 * np.pi)
    return radius * np.array([math.cos(bearing), math.sin(bearing)])


def _along(nut: Nut, at: npt.NDArray[np.float64], turn: float) -> tuple[Field, Field]:
    """Return coordinates along and across a direction through a place on the nut."""
    x, y = nut.x - np.float32(at[0]), nut.y - np.float32(at[1])
    cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    return x * cos + y * sin, y * cos - x * sin


DEFECTS: dict[str, Callable[[Nut, np.random.Generator], None]] = {
    "scratch": scratch,
    "rust": rust,
    "chip": chip,
    "dent": dent,
}
