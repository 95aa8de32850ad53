"""One synthetic defect, from a good photo: where, what, and how strongly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blemish.errors import ConfigError
from blemish.synthesis.arrays import Image, Mask, check_image, check_same_size
from blemish.synthesis.edges import feathered, softened
from blemish.synthesis.foreground import ProductKind, random_region
from blemish.synthesis.missing import behind, depth
from blemish.synthesis.overlay import overlay, self_shuffle
from blemish.synthesis.perlin import perlin_mask, random_frequency
from blemish.synthesis.photometric import augment, grey
from blemish.synthesis.shading import shade
from blemish.synthesis.strokes import stroke_mask

if TYPE_CHECKING:
    from blemish.synthesis.textures import TextureSource

REDRAWS = 50
MISSING_OPACITY = (0.0, 0.4)
"""Range of beta in Eq. 12 where a piece is missing: nearly nothing of it is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How synthetic defects are made. The defaults are the paper's (DiffusionAD, 4.4).

    kind: "object" keeps defects on the foreground, "texture" on a random part of it.
    texture_share: share of appearances taken from textures rather than from the shuffled photo;
    None means the paper's 0.5 for objects, 1 for textures.
    stroke_share: share of masks that are cracks, scratches and pits, not Perlin blobs (ours).
    shading_share: share of appearances that are the photo itself, locally darker, brighter, of other
    contrast or colour, blurred or smeared, with soft edges (ours); texture_share divides the rest.
    missing_share: share of the defects where a piece is gone, so that the photo's own background
    shows or, on a texture, the dark (ours); the other shares divide the rest.
    monochrome: appearances lose their colour (ours): photos from a grey camera never show any, and
    an inspector that learns "colour is a defect" on them learns nothing.
    opacity: range of beta in Eq. 12, the share of the photo that shines through.
    max_area: a mask that covers more than this share of the photo is redrawn.

    Raises:
        ConfigError: a share is outside [0, 1], or the opacity range is not ascending.
    """

    kind: ProductKind = "object"
    texture_share: float | None = None
    stroke_share: float = 0.0
    shading_share: float = 0.0
    missing_share: float = 0.0
    opacity: tuple[float, float] = (0.2, 0.8)
    max_area: float = 1.0
    monochrome: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("object", "texture"):
            raise ConfigError(
                f"expected kind object or texture, got {self.kind!r}",
                hint="product_kind(photos) tells which one fits",
            )
        for name in ("texture_share", "stroke_share", "shading_share", "missing_share", "max_area"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ConfigError(f"expected {name} between 0 and 1, got {share}", hint="it is a share")
        if self.max_area == 0:
            raise ConfigError(
                "expected max_area above 0: a defect covers something", hint="1 sets no limit"
            )
        low, high = self.opacity
        if not 0 <= low <= high <= 1:
            raise ConfigError(
                f"expected opacity as low, high with 0 <= low <= high <= 1, got {self.opacity}",
                hint="the paper uses 0.2, 0.8",
            )

    @property
    def foreign_share(self) -> float:
        """The share of textures with the paper's defaults filled in."""
        if self.texture_share is not None:
            return self.texture_share
        return 0.5 if self.kind == "object" else 1.0


def synthesise(
    image: Image,
    foreground: Mask,
    recipe: Recipe,
    textures: TextureSource,
    rng: np.random.Generator,
) -> tuple[Image, Mask]:
    """Return the photo with one synthetic defect, and where it is (DiffusionAD, Eq. 12).

    image: uint8 RGB (H, W, 3); foreground: bool (H, W). Returns image uint8 RGB (H, W, 3) and mask
    bool (H, W): a subset of the foreground, outside which the image equals the photo bit for bit.
    The mask is empty, and the image the photo, only when the foreground is empty.

    Raises:
        ImageError: the photo is not uint8 RGB, or the foreground has another size.
    """
    check_image(image)
    check_same_size(image, foreground, "foreground")
    if not foreground.any():
        return image.copy(), np.zeros(image.shape[:2], np.bool_)
    height, width = foreground.shape
    mask = draw_mask(foreground, recipe, rng)
    if recipe.missing_share and rng.random() < recipe.missing_share:
        ground, gone = _beneath(image, foreground, mask, recipe.kind, rng)
        return overlay(image, ground, softened(gone, rng), rng.uniform(*MISSING_OPACITY)), gone
    opacity = rng.uniform(*recipe.opacity)
    if rng.random() < recipe.shading_share:
        changed = shade(image, mask, rng, monochrome=recipe.monochrome)
        return overlay(image, changed, feathered(mask), opacity), mask
    if rng.random() < recipe.foreign_share:
        appearance = augment(textures.sample(height, width, rng), rng)
    else:
        appearance = self_shuffle(augment(image, rng), rng)
    if recipe.monochrome:
        appearance = grey(appearance)
    return overlay(image, appearance, mask, opacity), mask


def draw_mask(foreground: Mask, recipe: Recipe, rng: np.random.Generator) -> Mask:
    """Return a random mask inside a non-empty foreground: bool (H, W), never empty.

    Up to 50 draws of the same kind (and, for Perlin masks, of the same frequencies) until one meets
    the foreground and is no larger than allowed; then a small ellipse about a foreground pixel.
    """
    height, width = foreground.shape
    strokes = rng.random() < recipe.stroke_share
    frequency = random_frequency(rng)
    for _ in range(REDRAWS):
        allowed = foreground
        if recipe.kind == "texture":
            allowed = foreground & random_region(height, width, rng)
        if strokes:
            mask = stroke_mask(height, width, rng) & allowed
        else:
            mask = perlin_mask(height, width, frequency, rng) & allowed
        if 0 < np.count_nonzero(mask) <= recipe.max_area * mask.size:
            return mask
    return _small_ellipse(foreground, recipe.max_area, rng)


def _beneath(
    image: Image, foreground: Mask, mask: Mask, kind: ProductKind, rng: np.random.Generator
) -> tuple[Image, Mask]:
    """Return what shows where a piece is missing, and where under the mask it does.

    Of an object its background, where the photo has one; else the dark.
    """
    if kind == "object":
        ground, gone = behind(image, foreground, mask, rng)
        if gone.any():
            return ground, gone
    return depth(image, foreground, rng), mask


def _small_ellipse(foreground: Mask, max_area: float, rng: np.random.Generator) -> Mask:
    """Return the part inside the foreground of a small ellipse about one of its pixels.

    At least that pixel, at most `max_area` of the image where that is a pixel or more.
    """
    height, width = foreground.shape
    centre = rng.choice(np.flatnonzero(foreground))
    row, column = divmod(int(centre), width)
    # Half the side of the square of the allowed area: an ellipse inside that square fits.
    largest = max((max_area * height * width) ** 0.5 / 2 - 0.5, 0.5)
    radii = np.minimum(rng.uniform(0.02, 0.06, 2) * min(height, width), largest)
    y, x = np.ogrid[:height, :width]
    ellipse = ((y - row) / radii[0]) ** 2 + ((x - column) / radii[1]) ** 2 <= 1
    inside: Mask = ellipse & foreground
    return inside
