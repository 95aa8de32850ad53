"""The production line: photos of good products, and of the same products with one defect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy import ndimage

from blemish.errors import ConfigError
from blemish.synthesis.factory import fabric, nut

if TYPE_CHECKING:
    from blemish.synthesis.arrays import Image, Mask

Product = TypeVar("Product")

SMALLEST = 64
VISIBLE = 10
"""Grey levels, in any channel, from which a change counts as visible."""

SPECK = 6 / 256**2
"""Share of the photo: a spot smaller than that, on its own, nobody would mark."""

ATTEMPTS = 50

PRODUCTS: tuple[str, ...] = ("fabric", "nut")
DEFECTS: dict[str, tuple[str, ...]] = {
    "fabric": tuple(fabric.DEFECTS),
    "nut": tuple(nut.DEFECTS),
}


def draw_good(product: str, size: int, rng: np.random.Generator) -> Image:
    """Return a photo of a good product: uint8 RGB (size, size, 3).

    Pose, light, colour and sensor noise differ from photo to photo as they do on a real line.

    Raises:
        ConfigError: there is no such product, or the size is below 64.
    """
    _check(product, size)
    scene, _ = _seeds(rng)
    return _photo(product, size, scene)


def draw_defect(product: str, defect: str, size: int, rng: np.random.Generator) -> tuple[Image, Mask]:
    """Return a photo of a product with one defect, and where it is visible.

    Returns image uint8 RGB (size, size, 3) and mask bool (size, size), never empty. Outside the
    mask the image equals, bit for bit, `draw_good` from the same generator state. The mask holds
    the pixels that changed by 10 grey levels or more, with holes filled and lone specks left out.

    Raises:
        ConfigError: there is no such product or defect, or the size is below 64.
    """
    _check(product, size)
    if defect not in DEFECTS[product]:
        raise ConfigError(
            f"expected a defect of {product}, got {defect!r}",
            hint=f"choose from {', '.join(DEFECTS[product])}",
        )
    scene, damage = _seeds(rng)
    good = _photo(product, size, scene)
    defect_rng = np.random.default_rng(damage)
    for _ in range(ATTEMPTS):
        bad = _photo(product, size, scene, defect, defect_rng)
        mask = visible_change(good, bad)
        if mask.any():
            return np.where(mask[..., np.newaxis], bad, good), mask
    raise ConfigError(
        f"no visible {defect} in {ATTEMPTS} tries on a {product} of {size} px",
        hint="draw larger photos",
    )


def visible_change(good: Image, bad: Image) -> Mask:
    """Return where two photos differ visibly, as a careful person would mark it: bool (H, W).

    A change of 10 grey levels in any channel, gaps of a pixel closed, holes filled, specks dropped.
    """
    change = np.abs(bad.astype(np.int16) - good).max(axis=2) >= VISIBLE
    closed = ndimage.binary_closing(np.pad(change, 2), iterations=2)[2:-2, 2:-2]
    labels, count = ndimage.label(ndimage.binary_fill_holes(closed), np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    large = areas >= max(SPECK * change.size, 2)
    large[0] = False
    return np.asarray(large[labels])


def _photo(
    product: str,
    size: int,
    scene: int,
    defect: str | None = None,
    rng: np.random.Generator | None = None,
) -> Image:
    """Return the photo of a scene; with a defect, drawn from its own stream."""
    stream = np.random.default_rng(scene)
    if product == "fabric":
        return fabric.draw(size, stream, _damage(fabric.DEFECTS, defect, rng))
    return nut.draw(size, stream, _damage(nut.DEFECTS, defect, rng))


def _damage(
    defects: dict[str, Callable[[Product, np.random.Generator], None]],
    defect: str | None,
    rng: np.random.Generator | None,
) -> Callable[[Product], None] | None:
    if defect is None or rng is None:
        return None
    return lambda product: defects[defect](product, rng)


def _seeds(rng: np.random.Generator) -> tuple[int, int]:
    """Return the seeds of scene and defect: good and defective photos start from the same two."""
    scene, damage = rng.integers(2**63, size=2)
    return int(scene), int(damage)


def _check(product: str, size: int) -> None:
    if product not in DEFECTS:
        raise ConfigError(
            f"expected a product of the factory, got {product!r}",
            hint=f"choose from {', '.join(PRODUCTS)}",
        )
    if size < SMALLEST:
        raise ConfigError(
            f"expected photos of {SMALLEST} px or more, got {size}", hint="256 looks best"
        )
