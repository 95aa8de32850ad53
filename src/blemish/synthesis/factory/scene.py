"""Light, matter and lens of the toy factory: the pieces that every product is rendered with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageFilter

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Field, Image

Colours: TypeAlias = npt.NDArray[np.float32]
"""float32 linear RGB (H, W, 3), 1 = white."""

SENSOR_NOISE = 2.0
"""Standard deviation in grey levels."""


@dataclass(frozen=True, slots=True)
class Camera:
    """What changes from photo to photo: where the lamp is, how bright, how noisy the sensor."""

    lamp: float
    """Direction of the light in the image plane, radians."""
    exposure: float
    warmth: float
    noise_seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Camera:
        """Return a camera as the line has it: lamp at the upper left, small drifts."""
        return cls(
            lamp=rng.normal(-2.3, 0.06),
            exposure=rng.normal(1.0, 0.035),
            warmth=rng.normal(0.0, 0.012),
            noise_seed=int(rng.integers(2**63)),
        )

    @property
    def towards_lamp(self) -> tuple[float, float]:
        """The unit vector (x, y) towards the lamp."""
        return math.cos(self.lamp), math.sin(self.lamp)


def grid(size: int) -> tuple[Field, Field]:
    """Return pixel centres from the middle of a square photo: x, y in units of its side."""
    axis = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    return np.broadcast_to(axis, (size, size)), np.broadcast_to(axis[:, np.newaxis], (size, size))


def value_noise(size: int, cells: int, rng: np.random.Generator) -> Field:
    """Return smooth random bumps about 1 / cells of the photo wide: float32, mean 0, std near 1."""
    coarse = rng.standard_normal((cells + 2, cells + 2), dtype=np.float32) * 1.4
    # Half a cell is cut off all around, where interpolation has neighbours on one side only.
    box = (0.5, 0.5, cells + 1.5, cells + 1.5)
    fine = Pillow.fromarray(coarse).resize((size, size), Pillow.Resampling.BICUBIC, box=box)
    return np.asarray(fine)


def smoothstep(low: float, high: float, values: Field) -> Field:
    """Return 0 below low, 1 above high, and 3t^2 - 2t^3 in between; low > high turns it round."""
    t = np.clip((values - low) / (high - low), 0, 1)
    ramp: Field = t * t * (3 - 2 * t)
    return ramp


def mix(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32], share: Field) -> Colours:
    """Return (1 - share) * one + share * other for colours; share: (H, W) in [0, 1]."""
    weight = share[..., np.newaxis]
    return one + weight * (other - one)


def soften(field: Field, radius: float) -> Field:
    """Return the field in [0, 1] blurred by a Gaussian of `radius` px, in 8 bits."""
    picture = Pillow.fromarray((np.clip(field, 0, 1) * 255).astype(np.uint8))
    blurred = picture.filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred, np.float32) * np.float32(1 / 255)


def shifted(field: Field, across: float, down: float) -> Field:
    """Return the field moved by whole pixels, wrapping around."""
    return np.roll(field, (round(down), round(across)), axis=(0, 1))


def slopes(height: Field) -> tuple[Field, Field]:
    """Return the slope of a height field in pixels per pixel: along x, along y."""
    down, across = np.gradient(height)
    return np.asarray(across), np.asarray(down)


def develop(light: Colours, camera: Camera) -> Image:
    """Return the photo: vignetting, exposure, white balance, tone curve, lens, sensor noise.

    light: linear RGB (H, W, 3). The tone curve is a square root with a soft shoulder: highlights
    bend into white where a hard clip would cut holes. The noise depends on the camera alone, not on
    what it sees, so two scenes that agree around a pixel agree in that pixel's value.
    """
    size = light.shape[0]
    x, y = grid(size)
    falloff = camera.exposure * (1 - 0.35 * (x**2 + y**2))
    balance = np.array([1 + camera.warmth, 1, 1 - camera.warmth], np.float32)
    exposed = np.maximum(light * (balance * falloff[..., np.newaxis]), 0).astype(np.float32)
    tone = np.tanh(np.float32(1.05) * np.sqrt(exposed)) * np.float32(255 / math.tanh(1.3))
    lens = ImageFilter.GaussianBlur(0.55 * size / 256)
    seen = Pillow.fromarray(np.clip(tone, 0, 255).astype(np.uint8)).filter(lens)
    noise = np.random.default_rng(camera.noise_seed).standard_normal(light.shape, np.float32)
    levels = np.asarray(seen, np.float32) + np.float32(SENSOR_NOISE) * noise
    photo: Image = np.clip(levels, 0, 255).astype(np.uint8)
    return photo
