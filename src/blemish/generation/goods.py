"""The good photos that defects are painted on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch

from blemish.data import image_shape, letterbox, read_sample, refuse_test
from blemish.errors import DatasetError, ImageError
from blemish.generation.exemplars import Exemplar, look
from blemish.generation.masks import Template
from blemish.generation.placement import Region, suited
from blemish.generator_config import GeneratorConfig
from blemish.networks import LiteEncoder
from blemish.networks.symmetry import symmetries
from blemish.records import Record
from blemish.runtime import file_sha256, logger
from blemish.synthesis import ProductKind, foreground, product_kind
from blemish.synthesis.arrays import Image, Mask

_LOOK_AT, _COMPARED, _SIDE = 12, 48, 256
_IN_MEMORY = 16
_DRAWN = 12


def product_in(photo: Image, kind: ProductKind) -> Mask:
    """Return where the product is in a photo, bool (H, W): everywhere if it is a surface."""
    return foreground(photo) if kind == "object" else np.broadcast_to(np.True_, photo.shape[:2])


def settled(config: GeneratorConfig, goods: Sequence[Record]) -> GeneratorConfig:
    """Return the settings with every `auto` decided by a look at the good photos."""
    product = config.product
    if product.kind == "auto":
        kind = product_kind([read_sample(record).image for record in a_few(goods)])
        product = product.model_copy(update={"kind": kind})
    if product.turns == "auto":
        step = max(1, len(goods) // _COMPARED)
        some = [letterbox(read_sample(r).image, _SIDE)[0] for r in goods[::step][:_COMPARED]]
        squares = np.stack(some)
        encoder = LiteEncoder.imagenet(torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255)
        found = symmetries(squares, encoder)
        product = product.model_copy(update={"turns": found})
    logger.info(
        "the product is %s; it may be turned: %s",
        "an object" if product.kind == "object" else "a surface",
        ", ".join(product.turns) or "no",
    )
    return config.model_copy(update={"product": product})


def a_few(goods: Sequence[Record]) -> Sequence[Record]:
    """Return a dozen good photos, spread over all of them."""
    return goods[:: max(1, len(goods) // _LOOK_AT)][:_LOOK_AT]


class Goods:
    """Good photos of the training split, read when they are needed; the last ones stay in memory.

    Raises:
        DatasetError: there are none, or one is a defect or of the test split.
    """

    def __init__(self, records: Sequence[Record], kind: ProductKind) -> None:
        refuse_test(records)
        wrong = next((record for record in records if not record.is_good), None)
        if wrong is not None or not records:
            found = f"{wrong.image} shows a {wrong.label}" if wrong else "there are none"
            raise DatasetError(
                f"defects are painted on good photos: {found}", hint="put good photos into train/good"
            )
        self.records, self.kind = tuple(records), kind
        self.photo = lru_cache(_IN_MEMORY)(self._photo)
        self.product = lru_cache(_IN_MEMORY)(self._product)
        self.shape = lru_cache(None)(lambda number: image_shape(self.records[number].image))
        self._look = lru_cache(None)(lambda number: look(self.photo(number)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the content of the photos, in order."""
        hashes = [file_sha256(record.image) for record in self.records]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def like(self, exemplar: Exemplar, template: Template, tried: int, rng: np.random.Generator) -> int:
        """Return which of `tried` random photos that suit a mask is lit most like an exemplar's.

        A defect keeps its looks best where it is at home, but an inspector that sees it nowhere else
        learns that it belongs to that light: with one photo tried, any light is as likely as it is
        among the good photos. Of n photos at most n / 4 are tried, so that no photo is taken always.
        """
        count = min(tried, max(1, len(self.records) // 4))
        some = [int(number) for number in rng.integers(len(self.records), size=max(_DRAWN, tried))]
        if template.spanned:
            some = [some[index] for index in suited(template, [self.shape(number) for number in some])]
        if count == 1:
            return some[0]  # as most often: none has to be opened
        bright, rich = exemplar.look

        def unlike(number: int) -> float:
            found = self._look(number)
            return abs(found[0] - bright) + abs(found[1] - rich)

        return min(some[:count], key=unlike)

    def _photo(self, number: int) -> Image:
        return read_sample(self.records[number]).image

    def _product(self, number: int) -> Mask:
        return product_in(self.photo(number), self.kind)


def refuse_misfit(region: Region | None, goods: Goods) -> None:
    """Stop where a region of interest cannot be on some of the good photos.

    Raises:
        ImageError: a photo has another size than the region's mask, or ends before the polygon does.
    """
    if region is None:
        return
    shapes = [goods.shape(number) for number in range(len(goods.records))]
    if isinstance(region, Path):
        drawn = image_shape(region)
        others = [number for number, shape in enumerate(shapes) if shape != drawn]
        what = f"a region of {drawn[1]}x{drawn[0]}"
    else:
        width, height = (max(corner[axis] for corner in region) for axis in (0, 1))
        others = [number for number, (h, w) in enumerate(shapes) if h < height or w < width]
        what = f"a polygon that reaches to ({width:g}, {height:g})"
    if others:
        shape = shapes[others[0]]
        raise ImageError(
            f"{what} does not fit {len(others)} of {len(shapes)} good photos: "
            f"{goods.records[others[0]].image} has {shape[1]}x{shape[0]}",
            hint="give a dataset whose good photos are all of the region's size",
        )
