"""Masks of their own in a folder: to look at, to edit, and to paint with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from blemish.data import frame, is_photo, natural_key, write_png
from blemish.errors import ConfigError, DatasetError
from blemish.generation.generator import Generator
from blemish.generation.goods import Goods
from blemish.generation.masks import cleaned
from blemish.generation.placement import Region
from blemish.records import Record
from blemish.synthesis.arrays import Mask

_GUIDANCE, _STEPS = 5.0, 100
_EDGE = 1 / 3
"""A mask that covers more than this share of a side of its photo is a failure (the paper's code)."""


def write_masks(
    generator: Generator,
    goods: Sequence[Record],
    counts: Mapping[str, int],
    out: Path,
    *,
    seed: int = 0,
    region: Region | None = None,
    learned: bool = False,
) -> dict[str, list[Path]]:
    """Return the files of `counts[type]` masks of each type, written to `out/<type>/000000.png`.

    Each is as large as a good photo, with the mask where such a defect could be. learned: from the mask
    embedding, whose squares show whole photos, in place of the real defects' own masks.

    Raises:
        ConfigError: a type was not learned, or no mask embedding was.
    """
    if learned and not (generator.config.learning.masks and generator.painter.embedding):
        raise ConfigError(
            "this generator has not learned the shapes of masks",
            hint="learn with --set learning.masks=true and painting.painter=network or mixed",
        )
    for label in counts:
        if any((out / generator.repertoire.known(label)).glob("*")):
            raise DatasetError(
                f"{out / label} holds masks already",
                hint="choose another folder: edited masks are not overwritten",
            )
    shelf = Goods(goods, generator.kind)
    written: dict[str, list[Path]] = {}
    for label in sorted(counts, key=natural_key):
        drawn: list[Mask] = []
        attempt = 0
        while len(drawn) < counts[label]:
            if learned:
                square = generator.painter.mask(label, _GUIDANCE, _STEPS, (seed, attempt))
                height, width = shelf.photo(attempt % len(goods)).shape[:2]
                mask = on_photo(square, height, width)
            else:
                mask = generator.place(shelf, label, (seed, len(drawn), 0), region).mask
            attempt += 1
            if not learned or plausible(mask):
                drawn.append(cleaned(mask))
            elif attempt > 20 * counts[label]:
                raise ConfigError(
                    f"of {attempt} learned masks of {label} only {len(drawn)} are usable",
                    hint="learn longer, or leave out --learned",
                )
        written[label] = [out / label / f"{index:06d}.png" for index in range(len(drawn))]
        for path, mask in zip(written[label], drawn, strict=True):
            write_png(path, np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255)
    return written


def mask_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of a folder of masks by type, such as `write_masks` wrote and people edited.

    Raises:
        DatasetError: it has no folder with pictures in it.
    """
    found = {
        place.name: sorted(
            filter(is_photo, place.iterdir()),
            key=lambda file: natural_key(file.name),
        )
        for place in sorted(folder.iterdir() if folder.is_dir() else ())
        if place.is_dir()
    }
    found = {label: files for label, files in found.items() if files}
    if not found:
        raise DatasetError(
            f"{folder} has no masks: expected {folder}/<type>/*.png", hint="blemish masks draws some"
        )
    return found


def on_photo(square: Mask, height: int, width: int) -> Mask:
    """Return a mask of a whole photo's square, bool (S, S), on the photo, bool (H, W)."""
    found: Mask = frame(height, width, len(square)).restore(square.astype(np.float32)) > 0.5
    return found


def plausible(mask: Mask) -> bool:
    """Return whether a learned mask marks something, and does not run along a side of its photo."""
    sides = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return bool(mask.any()) and all(float(side.mean()) <= _EDGE for side in sides)
