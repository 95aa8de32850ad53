"""The good photos that defects are painted on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch

from blemish.data import letterbox, read_sample, refuse_test
from blemish.errors import DatasetError
from blemish.generation.exemplars import Exemplar, look
from blemish.generation.masks import Template
from blemish.generation.placement import suited
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
    return foreground(photo) if kind == "object" else np.ones(photo.shape[:2], np.bool_)


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
        self._facts = lru_cache(None)(self._read_facts)

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
        fitting = suited(template, [self._facts(number)[0] for number in some])[:count]
        bright, rich = exemplar.look

        def unlike(number: int) -> float:
            found = self._facts(number)[1]
            return abs(found[0] - bright) + abs(found[1] - rich)

        return min((some[index] for index in fitting), key=unlike)

    def _photo(self, number: int) -> Image:
        return read_sample(self.records[number]).image

    def _product(self, number: int) -> Mask:
        return product_in(self.photo(number), self.kind)

    def _read_facts(self, number: int) -> tuple[tuple[int, int], tuple[float, float]]:
        """Return a photo's (H, W) and its look."""
        photo = self.photo(number)
        return (photo.shape[0], photo.shape[1]), look(photo)
