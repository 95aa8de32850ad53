"""What is known of the real defects: their looks, masks and places, and what would pass for them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from blemish.errors import ConfigError
from blemish.generation.crops import window_around
from blemish.generation.exemplars import Exemplar
from blemish.generation.habits import Habit, habit, size_spread
from blemish.generation.masks import Template, largest_extent, read_templates
from blemish.generation.quality import SQUARE, Gate, Judge, encoder_features
from blemish.networks import LiteEncoder
from blemish.randomness import numpy_generator

if TYPE_CHECKING:
    from blemish.config import Turn
    from blemish.generation.masks import Points
    from blemish.generation.measures import Features
    from blemish.generation.normality import Normality
    from blemish.synthesis.arrays import Image, Mask


class Repertoire:
    """The real defects by type, and what follows from them; worked out when first asked for.

    exemplars: the few real defects; templates: the masks to paint, theirs unless others are given.
    """

    def __init__(
        self,
        exemplars: Mapping[str, Sequence[Exemplar]],
        turns: Sequence[Turn],
        templates: Mapping[str, Sequence[Template]] | None = None,
        normality: Normality | None = None,
    ) -> None:
        self.exemplars = {label: tuple(exemplars[label]) for label in sorted(exemplars)}
        self.turns, self.normality = tuple(turns), normality
        own = {label: [one.template for one in some] for label, some in self.exemplars.items()}
        self.templates = {label: tuple(some) for label, some in {**own, **(templates or {})}.items()}
        self.habits: Callable[[str], tuple[Habit, Points]] = lru_cache(None)(self._habits)
        self.judge: Callable[[str], Judge] = lru_cache(None)(self._judge)
        self.gate: Callable[[str], Gate] = lru_cache(None)(lambda label: self.judge(label).gate())
        self._encoder = lru_cache(1)(self._standardised_encoder)

    def with_masks(self, masks: Mapping[str, Sequence[Path]]) -> Repertoire:
        """Return the same defects with masks of the user's own, by type; other types keep theirs.

        Raises:
            ConfigError: a type was not learned.
            ImageError: a mask cannot be read.
        """
        products = self._products()
        given = {self.known(label): read_templates(files, products) for label, files in masks.items()}
        return Repertoire(self.exemplars, self.turns, {**self.templates, **given}, self.normality)

    def _products(self) -> dict[tuple[int, int], Mask]:
        """Return by (H, W) where any of the real defects' photos of that size shows the product.

        A mask without a photo is taken for one of such a product: its size and place are shares of it.
        """
        found: dict[tuple[int, int], Mask] = {}
        for one in (one for some in self.exemplars.values() for one in some):
            product = one.template.whole
            shape = (product.shape[0], product.shape[1])
            found[shape] = found[shape] | product if shape in found else product
        return found

    @property
    def masks_digest(self) -> str:
        """SHA-256 over the masks to paint."""
        named = [[label, [mask.sha256 for mask in some]] for label, some in self.templates.items()]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def known(self, label: str) -> str:
        """Return the name of a type that was learned.

        Raises:
            ConfigError: it was not.
        """
        if label not in self.exemplars:
            raise ConfigError(
                f"the type of defect {label!r} was not learned",
                hint=f"choose of: {', '.join(self.exemplars)}",
            )
        return label

    def real(self, label: str) -> list[tuple[Image, Mask]]:
        """Return the photos of a type's real defects with their masks."""
        return [(one.image, one.template.mask) for one in self.exemplars[self.known(label)]]

    def sources(
        self, label: str, mask: Template, count: int, loyalty: float, rng: np.random.Generator
    ) -> list[Exemplar]:
        """Return up to `count` real defects to paint a mask with.

        loyalty: the chance that the one whose mask it is comes first, and not last. The others are of
        the third that is nearest in size: a small defect would only be repeated over a large mask.
        """
        real = self.exemplars[label]
        order = [real[int(index)] for index in rng.permutation(len(real))]
        owner = self.owner(label, mask)
        own = [] if owner is None else [owner]

        def unlike(one: Exemplar) -> float:
            return abs(math.log(one.template.mask.sum() / mask.mask.sum()))

        alike = sorted((one for one in order if one is not owner), key=unlike)
        near = set(alike[: max(count, len(alike) // 3)])
        others = [one for one in order if one in near]
        loyal = rng.random() < loyalty
        return ([*own, *others] if loyal else [*others, *own])[:count]

    def owner(self, label: str, mask: Template) -> Exemplar | None:
        """Return the real defect whose mask this is; None where it is one of the user's own."""
        return next((one for one in self.exemplars[label] if one.template is mask), None)

    def made_of(
        self, label: str, mask: Template, sources: Sequence[Exemplar] | None = None
    ) -> list[str]:
        """Return the SHA-256 of the photos whose real defects lent a painting its mask and its looks.

        sources: whose patches paint; None where a network does, which has learned from all of the type.
        """
        made = {one.sha256 for one in (self.exemplars[label] if sources is None else sources)}
        owner = self.owner(label, mask)
        return sorted((made if owner is None else made | {owner.sha256}) - {""})

    @cached_property
    def size_spread(self) -> dict[str, float]:
        """How much the sizes of each type's masks scatter, as `size_spread` tells."""
        return size_spread(self.templates)

    @cached_property
    def features(self) -> Features:
        """The ImageNet features that defects are compared in."""
        return encoder_features(self._encoder())

    def _habits(self, label: str) -> tuple[Habit, Points]:
        """Return where a type's defects like to be, and their largest extent."""
        templates = self.templates[label]
        rng = numpy_generator(0, "habit", label)
        return habit(templates, self.turns, rng), largest_extent(templates)

    def _judge(self, label: str) -> Judge:
        return Judge(self.real(label), self.features, self.normality)

    def _standardised_encoder(self) -> LiteEncoder:
        """Return the ImageNet network, its features standardised on the real defects."""
        squares = [
            window_around(one.template.mask, SQUARE).cut(one.image)
            for some in self.exemplars.values()
            for one in some
        ]
        pictures = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255
        return LiteEncoder.imagenet(pictures)
