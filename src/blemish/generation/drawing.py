"""From a type of defect to one painting: every draw from a stream named by what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from blemish.generation.crops import Painting, paste, window_around
from blemish.generation.goods import Goods
from blemish.generation.placement import Placed, Region, allowed, place, region_name
from blemish.generation.repertoire import Repertoire
from blemish.generation.transplants import transplanted
from blemish.generation.warps import Jitter
from blemish.generation.workers import one_thread
from blemish.generator_config import GeneratorConfig
from blemish.randomness import numpy_generator, stream_seed

if TYPE_CHECKING:
    from blemish.config import Turn
    from blemish.generation.exemplars import Exemplar
    from blemish.generation.masks import Template
    from blemish.generation.painter import Painter
    from blemish.synthesis.arrays import Image, Mask

Name = tuple[int, int, int]
"""What decides all that is drawn for a painting beside its type: seed, index, number of the attempt."""


class Attempt(NamedTuple):
    """A pair that is yet to be judged, and how it was made."""

    photo: Image
    source: Path
    painting: Painting
    parameters: dict[str, Any]


class Drawing:
    """What `Generator` draws and paints with.

    config: all its settings; repertoire: the real defects and what is known of them; painter: fills
    squares.
    """

    config: GeneratorConfig
    repertoire: Repertoire
    painter: Painter

    def place(self, goods: Goods, label: str, name: Name, region: Region | None) -> Placed:
        """Return a mask of a type on one of the good photos."""
        photo, template = self.photo(goods, label, name), self.template(label, name)
        within = allowed(region, goods.photo(photo))
        return self.placed(label, template, goods.product(photo), within, name)

    def attempt(
        self,
        photo: Image,
        source: Path,
        product: Mask,
        region: Region | None,
        label: str,
        name: Name,
    ) -> Attempt:
        """Return one painting on a photo."""
        template = self.template(label, name)
        origin = self._moved(label, template, name)
        within = allowed(region, photo)
        placed = self.placed(label, template, product, within, name, rigid=origin is not None)
        if origin is None:
            painting = self.painted(photo, placed.mask, label, template, name, placed.change.turn)
            exemplars = self.made_of(label, template, name)
        else:
            painting = transplanted(photo, placed.mask, origin.image, placed.warp)
            exemplars = self.repertoire.made_of(label, template, [])
        facts = placed.summary() | {"attempt": name[2], "moved": origin is not None}
        facts["exemplars"] = exemplars
        if region is not None:
            facts["region"] = region_name(region)
        return Attempt(photo, source, painting, facts)

    def photo(self, goods: Goods, label: str, name: Name) -> int:
        """Return the good photo to paint on: one that is lit as the photo of the mask is.

        A mask of the user's own has none: as the first defect whose patches paint is lit, then.
        """
        template = self.template(label, name)
        near = self.repertoire.owner(label, template) or self._sources(label, template, name)[0]
        return goods.like(near, template, self.config.painting.lookalikes, _rng("photo", label, name))

    def placed(
        self,
        label: str,
        template: Template,
        product: Mask,
        region: Mask | None,
        name: Name,
        *,
        rigid: bool = False,
    ) -> Placed:
        """Return a mask where such defects like to be, on the product and in the region."""
        masks = self.config.masks
        jitter = Jitter(
            rotation=masks.rotation,
            scale=masks.scale(self.repertoire.size_spread[label]),
            bend=masks.bend,
            turns=self.repertoire.turns,
        )
        known, largest = self.repertoire.habits(label)
        stray = bool(_rng("stray", label, name).random() < masks.stray)
        rng = _rng("place", label, name)
        return place(template, product, known, largest, jitter, rng, region, stray=stray, rigid=rigid)

    def painted(
        self,
        photo: Image,
        mask: Mask,
        label: str,
        template: Template,
        name: Name,
        turn: Turn | None,
    ) -> Painting:
        """Return the photo with the mask filled, by way of a square at its own resolution."""
        window = window_around(mask, self.painter.size)
        with one_thread():
            made = self.painter.fill(
                window.cut(photo),
                window.cut_mask(mask),
                label,
                self._sources(label, template, name),
                window.scale,
                stream_seed(name[0], "painting", label, *name[1:]),
                turn,
            )
        return paste(photo, made, mask, window, self.config.painting.feather)

    def made_of(self, label: str, template: Template, name: Name) -> list[str]:
        """Return the SHA-256 of the photos of the real defects that a painting is made of."""
        patches = self.config.painting.painter == "patches"
        some = self._sources(label, template, name) if patches else None
        return self.repertoire.made_of(label, template, some)

    def template(self, label: str, name: Name) -> Template:
        """Return which mask of the type's is used."""
        templates = self.repertoire.templates[self.repertoire.known(label)]
        return templates[int(_rng("template", label, name).integers(len(templates)))]

    def _moved(self, label: str, template: Template, name: Name) -> Exemplar | None:
        """Return the real defect to move as it is; None where one is painted.

        At the edge of an object always: the pixels there are of the edge and of what lies behind it.
        """
        if _rng("transplant", label, name).random() >= self.config.painting.transplants:
            return None
        return None if template.at_edge else self.repertoire.owner(label, template)

    def _sources(self, label: str, template: Template, name: Name) -> list[Exemplar]:
        """Return the real defects whose patches paint."""
        how = self.config.painting
        rng = _rng("sources", label, name)
        return self.repertoire.sources(label, template, how.sources, how.loyalty, rng)


def _rng(what: str, label: str, name: Name) -> np.random.Generator:
    return numpy_generator(name[0], what, label, *name[1:])
