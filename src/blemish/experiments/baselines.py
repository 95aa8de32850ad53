"""Folders of pairs from the baselines that learn nothing, to train on beside generated ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from blemish.data import append_manifest, read_dataset, read_sample, write_sample
from blemish.errors import ArtifactError, ConfigError, DatasetError
from blemish.experiments.grid import content_digest
from blemish.randomness import numpy_generator
from blemish.records import Record, Sample
from blemish.runtime import write_json
from blemish.synthesis import (
    ProceduralTextures,
    ProductKind,
    Recipe,
    crop_and_paste,
    cut_paste,
    foreground,
    poisson_paste,
    synthesise,
)
from blemish.version import __version__

Image: TypeAlias = npt.NDArray[np.uint8]
Mask: TypeAlias = npt.NDArray[np.bool_]
Pair: TypeAlias = tuple[Image, Mask]
Paste: TypeAlias = Callable[[Image, Mask, Image, Mask, np.random.Generator], Pair]

TYPED: dict[str, Paste] = {"crop_and_paste": crop_and_paste, "poisson_paste": poisson_paste}
"""Baselines that paste a real defect, and so know its type."""

UNTYPED = ("cut_paste", "draem")
"""Baselines that know good photos only."""

DONE = "baseline.json"
_REDRAWS = 50


def write_baseline(
    name: str,
    few: Sequence[Record],
    goods: Sequence[Record],
    kind: ProductKind,
    count: int,
    out: Path,
    seed: int = 0,
) -> tuple[Record, ...]:
    """Return the pairs of a baseline, written to a folder with a manifest.

    `count` of each type for a baseline that pastes, as many in all for others, whose one type is their
    own name. A folder that is complete is read, one that is not is made again. kind: defects of an
    object lie on it.

    Raises:
        ArtifactError: the folder holds pairs of other settings or photos.
        ConfigError: there is no such baseline.
        DatasetError: there is no defect, or no good photo.
    """
    if name not in (*TYPED, *UNTYPED):
        raise ConfigError(
            f"there is no baseline {name!r}", hint=f"choose of: {', '.join((*TYPED, *UNTYPED))}"
        )
    if not few or not goods:
        raise DatasetError(
            f"{name} has {len(few)} defects to learn from and {len(goods)} good photos to paste on",
            hint="each is needed",
        )
    facts = {"baseline": name, "seed": seed, "count": count, "kind": kind}
    facts |= {"few": content_digest(few), "goods": content_digest(goods)}
    done = out / DONE
    if done.is_file():
        found = json.loads(done.read_text(encoding="utf-8"))
        if {key: found.get(key) for key in facts} != facts:
            raise ArtifactError(
                f"{out} holds pairs of other settings or photos",
                hint="choose another folder, or remove this one",
            )
    else:
        shutil.rmtree(out, ignore_errors=True)
        draw = _Drawing(name, few, goods, kind)
        types = sorted({record.label for record in few})
        numbers = dict.fromkeys(types, count) if name in TYPED else {name: count * len(types)}
        for label, many in numbers.items():
            for index in range(many):
                image, mask = draw.pair(label, numpy_generator(seed, name, label, index))
                stem = f"{index:05d}"
                record = write_sample(out, label, stem, image, mask, split="train", synthetic=True)
                append_manifest(out, record)
        write_json(done, {"blemish": __version__, **facts})
    return read_dataset(out).train_defects


class _Drawing:
    """Draws the pairs of one baseline."""

    def __init__(
        self, name: str, few: Sequence[Record], goods: Sequence[Record], kind: ProductKind
    ) -> None:
        self.name, self.goods, self.kind = name, goods, kind
        self.few = [read_sample(record) for record in few]
        self.textures = ProceduralTextures()
        self.good = lru_cache(64)(self._good)

    def _good(self, number: int) -> Pair:
        photo = read_sample(self.goods[number]).image
        whole = np.ones(photo.shape[:2], np.bool_)
        return photo, foreground(photo) if self.kind == "object" else whole

    def pair(self, label: str, rng: np.random.Generator) -> Pair:
        """Return a pair whose mask is not empty."""
        for _ in range(_REDRAWS):
            photo, product = self.good(int(rng.integers(len(self.goods))))
            image, mask = self._drawn(label, photo, product, rng)
            if mask.any():
                return image, mask
        raise ConfigError(
            f"{self.name} found no place for a defect in {_REDRAWS} photos",
            hint="is the product found in the photos? try product.kind=texture",
        )

    def _drawn(self, label: str, photo: Image, product: Mask, rng: np.random.Generator) -> Pair:
        if self.name == "cut_paste":
            return cut_paste(photo, product, rng)
        if self.name == "draem":
            grey = bool(np.ptp(photo, axis=2).max() == 0)
            recipe = Recipe(kind=self.kind, texture_share=1.0, opacity=(0.0, 0.8), monochrome=grey)
            return synthesise(photo, product, recipe, self.textures, rng)
        real = [s for s in self.few if s.record.label == label]
        sample: Sample = real[int(rng.integers(len(real)))]
        assert sample.mask is not None  # noqa: S101 - the few have masks
        return TYPED[self.name](sample.image, sample.mask, photo, product, rng)
