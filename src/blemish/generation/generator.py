"""A learned generator: the few real defects, what was learned of them, and how to paint more."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from blemish import hardware
from blemish.config import merged, validated
from blemish.data import read_image
from blemish.errors import ConfigError, DatasetError, ImageError
from blemish.generation.crops import Painting
from blemish.generation.drawing import Attempt, Drawing, Name
from blemish.generation.goods import Goods, product_in, refuse_misfit
from blemish.generation.manifest import Entry, Run
from blemish.generation.output import Crew, Made, write_pairs
from blemish.generation.painter import refuse_inert
from blemish.generation.placement import Region, named_region, region_digest
from blemish.generation.quality import Verdict, first_accepted
from blemish.generation.repertoire import Repertoire
from blemish.generation.workers import one_thread, workers
from blemish.generator_config import GeneratorConfig
from blemish.records import Record

if TYPE_CHECKING:
    from blemish.generation.masks import Template
    from blemish.generation.painter import Painter
    from blemish.synthesis import ProductKind
    from blemish.synthesis.arrays import Image, Mask


class Judged(NamedTuple):
    """A painting with what the gate says of it. exemplars: SHA-256 of the photos it is made of."""

    painting: Painting
    verdict: Verdict
    exemplars: tuple[str, ...]


class Generator(Drawing):
    """Paints defects of the types that it has learned.

    >>> Generator.load("runs/tiles/generator").paint("photo.jpg", "crack").image  # doctest: +SKIP

    model: SHA-256 of all that was learned; facts: how it was learned.
    """

    def __init__(
        self,
        config: GeneratorConfig,
        repertoire: Repertoire,
        painter: Painter,
        model: str,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.repertoire, self.painter, self.model = config, repertoire, painter, model
        self.facts = dict(facts or {})

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto"
    ) -> Self:
        """Return the generator that `learn` saved.

        precision: `auto` computes in the number format that it learned in.

        Raises:
            ArtifactError: the folder is no generator, is damaged, or was written by a newer version.
            DependencyError: the backbone that it was learned with is not installed.
        """
        from blemish.generation.saving import load_parts

        return cls(*load_parts(Path(folder), device, precision))

    @property
    def types(self) -> tuple[str, ...]:
        """The types of defects that it has learned, in sorted order."""
        return tuple(self.repertoire.exemplars)

    @property
    def kind(self) -> ProductKind:
        """Whether the product is an object or a texture."""
        kind = self.config.product.kind
        assert kind != "auto"  # noqa: S101 - decided when it learned
        return kind

    def settings(self, region: Region | None = None) -> str:
        """Return the SHA-256 of what decides a pair beside the model: dials, masks, and the region.

        Raises:
            ImageError: the region is a file that is not there.
        """
        if isinstance(region, Path) and not region.is_file():
            hint = "give a mask of the photos' size, white where defects may be"
            raise ImageError(f"the region of interest {region} is not there", hint=hint)
        dials = self.config.model_dump(mode="json", include={"masks", "painting", "quality"})
        parts = [dials, self.repertoire.masks_digest, region_digest(region)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def with_settings(self, values: Mapping[str, Any]) -> Self:
        """Return this generator with other settings of `masks`, `painting` or `quality`.

        Raises:
            ConfigError: a setting does not exist or fit, belongs to learning, or would do nothing.
        """
        for section in values:
            if section not in ("masks", "painting", "quality"):
                raise ConfigError(
                    f"{section} was settled when the generator learned",
                    hint="only masks, painting and quality can be changed afterwards",
                )
        other = copy.copy(self)
        settings = merged(self.config.model_dump(mode="json"), values)
        other.config = validated(GeneratorConfig, settings)
        how = other.config.painting
        refuse_inert(how, self.painter.backbone)
        if how.reweighting == "auto" and how.painter != "patches" and "unfilled" not in self.facts:
            raise ConfigError(
                "painting.reweighting=auto: which types need it was not looked at when it learned",
                hint="learn with painting.reweighting=auto, or choose tempered or off",
            )
        other.painter = self.painter.painting(how)
        return other

    def with_masks(self, masks: Mapping[str, Sequence[Path]]) -> Self:
        """Return this generator with masks of the user's own, as large as the photos, by type.

        Raises:
            ConfigError: a type was not learned.
            ImageError: a mask cannot be read.
        """
        other = copy.copy(self)
        other.repertoire = self.repertoire.with_masks(masks)
        return other

    def paint(
        self,
        photo: str | os.PathLike[str] | Image,
        label: str,
        mask: Mask | None = None,
        *,
        seed: int = 0,
    ) -> Painting:
        """Return a photo with a defect of a type, and the mask that was really painted.

        photo: a file, or uint8 RGB (H, W, 3); mask: bool (H, W), where to paint; None takes a place
        and shape as the real ones have. The same seed paints the same.

        Raises:
            ConfigError: the type was not learned.
            ImageError: the photo cannot be read, or the mask is empty or of another size.
        """
        return self.paint_judged(photo, label, mask, seed=seed).painting

    def paint_judged(
        self,
        photo: str | os.PathLike[str] | Image,
        label: str,
        mask: Mask | None = None,
        *,
        seed: int = 0,
    ) -> Judged:
        """Return what `paint` does, with the gate's verdict and the real defects that it is made of."""
        image = photo if isinstance(photo, np.ndarray) else read_image(Path(photo))
        template = self.template(label, name := (seed, 0, 0))
        painting = self._by_hand(image, label, mask, template, name)
        scores = self.repertoire.judge(label).scores(image, *painting)
        verdict = self.repertoire.gate(label).verdict(scores)
        return Judged(painting, verdict, tuple(self.made_of(label, template, name)))

    def _by_hand(
        self, image: Image, label: str, mask: Mask | None, template: Template, name: Name
    ) -> Painting:
        """Return one painting where somebody asked for it, or at a place like the real ones'."""
        if mask is None:
            placed = self.placed(label, template, product_in(image, self.kind), None, name)
            return self.painted(image, placed.mask, label, template, name, placed.change.turn)
        if mask.shape != image.shape[:2] or mask.dtype != np.bool_ or not mask.any():
            raise ImageError(
                f"expected a bool mask {image.shape[:2]} with a part to paint, got {mask.dtype} "
                f"{mask.shape} with {int((mask > 0).sum())} pixels",
                hint="draw the mask on the photo itself, and give mask > 0",
            )
        return self.painted(image, mask, label, template, name, None)

    def generate(
        self,
        goods: Sequence[Record],
        counts: Mapping[str, int],
        out: str | os.PathLike[str],
        *,
        seed: int = 0,
        region: Region | None = None,
        report: Callable[[Entry], None] | None = None,
        processes: int | None = None,
    ) -> tuple[Entry, ...]:
        """Return what a folder of exactly `counts[type]` pairs of each type holds.

        A dataset: the good photos in train/good/, pairs in test/<type>/ and ground_truth/<type>/, the
        manifest beside them. A run that was killed goes on where it was, and several processes
        (torchrun, accelerate) share the work; either way the files are those of one run to the end.
        goods: good photos of the training split; region: where defects may be; report: called with
        each new entry; processes: that paint, None for as many as there are cores.

        Raises:
            ConfigError: a type was not learned.
            DatasetError: the folder holds another run, or the good photos are not good.
            ImageError: the region does not fit all good photos.
        """
        with one_thread():
            for label in counts:
                self.repertoire.gate(label)  # now, so that processes that paint need not
        shelf, root = Goods(goods, self.kind), Path(out)
        settings = self.settings(region)
        refuse_misfit(region, shelf)
        state = hardware.processes(cpu=self.painter.device.type == "cpu")
        crew = Crew(state.process_index, state.num_processes, state.wait_for_everyone)
        return write_pairs(
            root,
            counts,
            lambda label, index: self.make(shelf, label, index, seed, region),
            Run(seed, self.model, settings, shelf.digest),
            report,
            crew,
            workers(self.painter.device, processes),
            goods,
        )

    def make(
        self, goods: Goods, label: str, index: int, seed: int = 0, region: Region | None = None
    ) -> Made:
        """Return pair `index` of a type: the first that passes the gate, or the best of all."""
        judge, gate = self.repertoire.judge(label), self.repertoire.gate(label)

        def attempt(number: int) -> Attempt:
            name = (seed, index, number)
            n = self.photo(goods, label, name)
            photo, source, product = goods.photo(n), goods.records[n].image, goods.product(n)
            return self.attempt(photo, source, product, region, label, name)

        def verdict(one: Attempt) -> Verdict:
            limits = gate.for_moved() if one.parameters["moved"] else gate
            return limits.verdict(judge.scores(one.photo, *one.painting))

        with one_thread():
            chosen = first_accepted(attempt, verdict, self.config.quality.attempts)
        return Made(
            image=chosen.pair.painting.image,
            mask=chosen.pair.painting.mask,
            source=chosen.pair.source,
            verdict=chosen.verdict,
            parameters=chosen.pair.parameters,
            attempts=chosen.attempts,
            refused=chosen.refused,
        )

    def reproduce(self, entry: Entry, root: Path | None = None) -> Painting:
        """Return a pair again from its manifest entry, bit for bit; `root`: where it lies.

        Raises:
            DatasetError: the entry is of another model or of other settings, or its photo has changed.
            ImageError: its region of interest is gone.
        """
        found = entry.parameters.get("region")
        settings = self.settings(region := None if found is None else named_region(found))
        if (entry.run.model, entry.run.settings) != (self.model, settings):
            raise DatasetError(
                f"{entry.image} was made by model {entry.run.model[:12]} with settings "
                f"{entry.run.settings[:12]}; this is {self.model[:12]} with {settings[:12]}",
                hint="give the generator, the settings and the masks that it was made with",
            )
        source = entry.good_photo(root)
        photo, name = read_image(source), (entry.run.seed, entry.index, entry.parameters["attempt"])
        product = product_in(photo, self.kind)
        return self.attempt(photo, source, product, region, entry.label, name).painting
