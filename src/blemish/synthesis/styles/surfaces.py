"""Clean surfaces as an inspection camera sees them: materials arranged, lit and photographed."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pillow
from scipy import ndimage

from blemish.synthesis.factory.scene import Colours, mix, smoothstep
from blemish.synthesis.styles import materials, organic
from blemish.synthesis.styles.fields import fractal, log_uniform, positions, single
from blemish.synthesis.styles.materials import LUMA, Material, Slab, colour
from blemish.synthesis.styles.relief import Lamp, bowl, highlight, hollow, shading

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field, Image

MATERIALS: tuple[tuple[Material, float], ...] = (
    (materials.brushed_metal, 3),
    (materials.ground_metal, 2),
    (materials.cast_metal, 2),
    (materials.galvanised, 1),
    (materials.painted, 2),
    (materials.anodised, 1),
    (materials.glazed, 2),
    (materials.moulded, 2),
    (materials.rubber, 1),
    (materials.stone, 2),
    (materials.circuit, 1),
    (materials.printed, 1),
    (materials.patterned, 2),
    (organic.wood, 2),
    (organic.woven, 2),
    (organic.felt, 1),
    (organic.leather, 2),
    (organic.paper, 1),
    (organic.crust, 2),
    (organic.tufted, 1),
)
"""Each material with its weight in the draw."""

_SHARES = np.array([weight for _, weight in MATERIALS]) / sum(weight for _, weight in MATERIALS)


def draw_surface(rng: np.random.Generator, size: int) -> Image:
    """Return a photo of a clean surface: uint8 RGB (size, size, 3), grey half of the time.

    One material, or an object on its background; some with grooves, holes, ribs or marks; under one
    lamp, through one camera.
    """
    lamp = Lamp.draw(rng)
    slab = draw_material(size, rng)
    if rng.random() < 0.4:
        slab = on_background(slab, draw_material(size, rng), lamp, rng)
    for _ in range(rng.choice(4, p=(0.6, 0.2, 0.12, 0.08))):
        slab = with_feature(slab, rng)
    return photograph(lit(slab, lamp, rng), rng)


def draw_material(size: int, rng: np.random.Generator) -> Slab:
    """Return a piece of a random material."""
    return MATERIALS[rng.choice(len(MATERIALS), p=_SHARES)][0](size, rng)


def outline(size: int, rng: np.random.Generator) -> Field:
    """Return how far inside a part's outline each pixel lies, px: negative outside.

    A straight edge, a strip, a disc, a ring or a rounded rectangle; some edges are rough.
    """
    x, y = positions(size)
    place = rng.uniform(-0.35, 0.35, 2) * size
    turn = float(rng.choice([0, np.pi / 2, np.pi, -np.pi / 2])) + rng.normal(0, 0.05)
    if rng.random() < 0.3:
        turn = rng.uniform(0, 2 * np.pi)
    x, y = x - np.float32(place[0]), y - np.float32(place[1])
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    kind = rng.integers(5)
    if kind == 0:
        inside = u + rng.normal(0, 0.15) * v * v / size
    elif kind == 1:
        inside = rng.uniform(0.12, 0.4) * size - np.abs(u)
    elif kind == 2:
        inside = log_uniform(rng, 0.2, 1.5) * size - np.hypot(u, v)
    elif kind == 3:
        inside = rng.uniform(0.06, 0.2) * size - np.abs(np.hypot(u, v) - rng.uniform(0.2, 0.7) * size)
    else:
        corner = rng.uniform(0.02, 0.15) * size
        half = rng.uniform(0.2, 0.6, 2) * size - corner
        away = np.maximum(np.abs(u) - half[0], 0), np.maximum(np.abs(v) - half[1], 0)
        within = np.minimum(np.maximum(np.abs(u) - half[0], np.abs(v) - half[1]), 0)
        inside = corner - np.hypot(*away) - within
    if rng.random() < 0.3:
        inside = inside + rng.uniform(0.3, 3) * fractal(size, rng, 1.6)
    return single(inside)


def on_background(part: Slab, ground: Slab, lamp: Lamp, rng: np.random.Generator) -> Slab:
    """Return the part lying on the ground: a bevelled edge, and the shadow that it throws."""
    size = part.height.shape[0]
    inside = outline(size, rng)
    edge = rng.uniform(0.4, 1.5)
    cover = smoothstep(-edge, edge, inside)
    tall = log_uniform(rng, 1, 12)
    bevel = bowl(np.maximum(inside, 0), log_uniform(rng, 1, 25))
    x, y, _ = lamp.towards
    reach = np.array([y, x]) * tall * rng.uniform(0.3, 1.5)
    thrown = ndimage.gaussian_filter(
        ndimage.shift(inside, -reach, order=0, mode="nearest"), rng.uniform(0.5, 4), truncate=2
    )
    dark = smoothstep(-2, 2, thrown) * np.float32(rng.uniform(0.1, 0.8))
    below = ground.colour * np.float32(rng.uniform(0.3, 1.2)) * (1 - dark)[..., np.newaxis]
    height = ground.height * (1 - cover) + cover * (part.height + np.float32(tall) * bevel)
    return Slab(mix(below, part.colour, cover), single(height), part.gloss)


def with_feature(slab: Slab, rng: np.random.Generator) -> Slab:
    """Return the slab with a groove, rib, recess, hole or mark along some outline."""
    inside = outline(slab.height.shape[0], rng)
    if rng.random() < 0.5:
        inside = single(log_uniform(rng, 0.8, 5) - np.abs(inside))
    cover = smoothstep(-0.7, 0.7, inside)
    step = hollow(np.maximum(inside + 0.7, 0), log_uniform(rng, 1.5, 8))
    deep = np.float32(rng.choice([-1, 1]) * log_uniform(rng, 0.5, 6) * (rng.random() < 0.75))
    tone = slab.colour * np.float32(rng.uniform(0.25, 1.4))
    if rng.random() < 0.4:
        tone = np.broadcast_to(colour(rng), tone.shape)
    share = cover * np.float32(rng.choice([0, rng.uniform(0.2, 1)]))
    painted = mix(slab.colour, single(np.clip(tone, 0, 1)), share)
    return Slab(painted, slab.height + deep * step, slab.gloss)


def lit(slab: Slab, lamp: Lamp, rng: np.random.Generator) -> Colours:
    """Return the light that reaches the camera, (H, W, 3): relief, mirror part, uneven lamp."""
    size = slab.height.shape[0]
    light = shading(slab.height, lamp, rng.uniform(0.25, 0.8))
    x, y = positions(size)
    side, slope = rng.uniform(0, 2 * np.pi), rng.choice([0, rng.uniform(0, 0.6)])
    light = light * (1 + slope * (x * math.cos(side) + y * math.sin(side)) / size)
    if rng.random() < 0.3:
        light = light * (1 - rng.uniform(0, 0.9) * (x * x + y * y) / (size * size))
    mirrored = slab.gloss * rng.uniform(0, 0.5) * highlight(slab.height, lamp, log_uniform(rng, 8, 60))
    if rng.random() < 0.25 * slab.gloss:
        aside = (x * math.cos(side) + y * math.sin(side)) / size - rng.uniform(-0.5, 0.5)
        mirrored = mirrored + rng.uniform(0, 0.5) * np.exp(-((aside / rng.uniform(0.05, 0.3)) ** 2))
    shone = slab.colour * light[..., np.newaxis] + mirrored[..., np.newaxis]
    return single(shone)


def photograph(light: Colours, rng: np.random.Generator) -> Image:
    """Return the developed photo, uint8 RGB: lens, exposure, contrast, sensor noise, compression."""
    size = light.shape[0]
    if rng.random() < 0.5:
        light = np.repeat((light @ LUMA)[..., np.newaxis], 3, axis=2)
        grey = True
    else:
        light = light * rng.normal(1, 0.04, 3).astype(np.float32)
        grey = False
    channels = light[..., :1] if grey else light
    if rng.random() < 0.6:
        channels = ndimage.gaussian_filter(channels, (*[rng.uniform(0.3, 1.1)] * 2, 0), truncate=2.5)
    mean = channels.mean()
    contrast = log_uniform(rng, 0.3, 1.4)
    target = np.clip(0.5 * mean + 0.5 * rng.uniform(0.12, 0.85), 0.08, 0.92)
    levels = target + (channels - mean) * np.float32(contrast * target / max(mean, 0.05))
    # Highlights bend into white: a hard clip would leave flat islands.
    levels = np.where(levels > 0.8, 0.8 + 0.2 * np.tanh((levels - 0.8) / 0.2), levels)
    noise = rng.choice([0.0, 1.0]) * log_uniform(rng, 0.002, 0.025)
    levels = levels + np.float32(noise) * rng.standard_normal(channels.shape, dtype=np.float32)
    if rng.random() < 0.1:
        columns = rng.normal(0, rng.uniform(0.003, 0.02), (1, size, 1))
        levels = levels + columns
    if rng.random() < 0.15:
        levels = 2 * levels - ndimage.gaussian_filter(levels, (1.2, 1.2, 0), truncate=2)
    photo = np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)
    photo = np.repeat(photo, 3, axis=2) if grey else photo
    return _compressed(photo, int(rng.integers(55, 96)), grey=grey) if rng.random() < 0.3 else photo


def _compressed(photo: Image, quality: int, *, grey: bool) -> Image:
    """Return the photo after one round of JPEG; a grey one stays grey."""
    picture = Pillow.fromarray(photo[..., 0] if grey else photo)
    with io.BytesIO() as buffer:
        picture.save(buffer, "JPEG", quality=quality)
        return np.array(Pillow.open(buffer).convert("RGB"))
