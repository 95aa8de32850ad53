"""Masks of their own in a folder: to look at, to edit, and to paint with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from blemish.data import frame, is_photo, natural_key, write_png
from blemish.errors import ConfigError, DatasetError
from blemish.generation.generator import Generator
from blemish.generation.goods import Goods, refuse_misfit
from blemish.generation.manifest import Run
from blemish.generation.masks import cleaned
from blemish.generation.placement import Region
from blemish.records import Record
from blemish.runtime import alone, write_json
from blemish.synthesis.arrays import Mask

_GUIDANCE, _STEPS = 5.0, 100
_EDGE = 1 / 3
"""A mask that covers more than this share of a side of its photo is a failure (the paper's code)."""
_PATIENCE, _FIRST = 20, 50
"""So many attempts may be made for each mask, and so many before the first."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the masks of a type are, kept in `<type>.json` beside their folder.

    run, learned, wanted: what decides the masks. tried: how many attempts were made; kept: how many of
    them are masks in the folder. Attempt *i* is a pure function of what decides the masks and of *i*.
    """

    run: Run
    learned: bool
    wanted: int
    tried: int = 0
    kept: int = 0


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

    Each is as large as a good photo, with the mask where such a defect could be. A run that was killed
    goes on where it was, and its files are those of one run to the end; finished masks stay as they
    are, also where people edited them. learned: from the mask embedding, whose squares show whole
    photos, in place of the real defects' own masks.

    Raises:
        ConfigError: a type or the shapes of masks were not learned, or learned masks are not usable or
            asked for in a region.
        DatasetError: the folder holds other masks, or the good photos are not good.
        ArtifactError: another program is writing there.
    """
    if learned and not (generator.config.learning.masks and generator.painter.embedding):
        raise ConfigError(
            "this generator has not learned the shapes of masks",
            hint="learn with --set learning.masks=true and painting.painter=network or mixed",
        )
    if learned and region is not None:
        raise ConfigError(
            "learned masks show whole photos: a region does not move them",
            hint="leave out --learned, or --region and --polygon",
        )
    labels = sorted(map(generator.repertoire.known, counts), key=natural_key)
    shelf = Goods(goods, generator.kind)
    run = Run(seed, generator.model, generator.settings(region), shelf.digest)
    refuse_misfit(region, shelf)

    def draw(label: str, attempt: int) -> Mask | None:
        if learned:
            return _learned(generator, shelf, label, seed, attempt)
        return cleaned(generator.place(shelf, label, (seed, attempt, 0), region).mask)

    with alone(out):
        _tidy(out)
        begun = {label: _begun(out / label, Progress(run, learned, counts[label])) for label in labels}
        # All are noted before one is drawn: what a killed run leaves is seen to lack the others.
        for label, progress in begun.items():
            write_json(_file(out / label), asdict(progress))
        for label, progress in begun.items():
            _finish(out / label, label, progress, draw)
    return {label: _pictures(out / label) for label in labels}


def mask_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of a folder of masks by type, such as `write_masks` wrote and people edited.

    Raises:
        DatasetError: it has no folder with pictures in it, or what was begun there is not finished.
    """
    for file in sorted(folder.glob("*.json")):
        progress = _read(file)
        if progress is not None and progress.kept < progress.wanted:
            raise DatasetError(
                f"{folder} has {progress.kept} of {progress.wanted} masks of {file.stem}: "
                "the run that drew them was stopped",
                hint=f"run the same command again, or delete {file} to do with what there is",
            )
    places = sorted(folder.iterdir()) if folder.is_dir() else ()
    found = {place.name: files for place in places if (files := _pictures(place))}
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


def _learned(generator: Generator, goods: Goods, label: str, seed: int, attempt: int) -> Mask | None:
    """Return a mask from the mask embedding on a photo; None where it is not usable."""
    square = generator.painter.mask(label, _GUIDANCE, _STEPS, (seed, attempt))
    height, width = goods.photo(attempt % len(goods.records)).shape[:2]
    mask = on_photo(square, height, width)
    return cleaned(mask) if plausible(mask) else None


def _begun(folder: Path, asked: Progress) -> Progress:
    """Return how far the masks of a type are.

    Raises:
        DatasetError: the folder holds masks of another run, or not all that this one has drawn.
    """
    found, pictures = _read(_file(folder)), len(_pictures(folder))
    if found and replace(found, tried=0, kept=0) == asked and found.kept <= pictures:
        return found
    if pictures:
        raise DatasetError(
            f"{folder} holds masks already, and not those that are asked for",
            hint="choose another folder, or remove this one: edited masks are not overwritten",
        )
    return asked


def _finish(folder: Path, label: str, now: Progress, draw: Callable[[str, int], Mask | None]) -> None:
    """Draw the masks of a type that are lacking; draw(type, attempt): None where it is not usable.

    A mask is written before the note of it: a kill between the two costs one attempt, which then gives
    the same file again.

    Raises:
        ConfigError: too few attempts are usable.
    """
    while now.kept < now.wanted:
        if now.tried > _PATIENCE * now.wanted or (now.tried >= _FIRST and not now.kept):
            raise ConfigError(
                f"of {now.tried} learned masks of {label} only {now.kept} are usable",
                hint="learn longer, or leave out --learned",
            )
        mask = draw(label, now.tried)
        if mask is not None:
            picture = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
            write_png(folder / f"{now.kept:06d}.png", picture)
        now = replace(now, tried=now.tried + 1, kept=now.kept + (mask is not None))
        write_json(_file(folder), asdict(now))


def _file(folder: Path) -> Path:
    """Return where the progress of a type's folder is kept."""
    return folder.with_name(f"{folder.name}.json")


def _read(file: Path) -> Progress | None:
    """Return the progress in a file; None where there is none."""
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        return Progress(**{**facts, "run": Run(**facts["run"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # or it is somebody else's
        return None


def _pictures(folder: Path) -> list[Path]:
    """Return the pictures in a folder in natural order; none where it is no folder."""
    files = filter(is_photo, folder.iterdir()) if folder.is_dir() else ()
    return sorted(files, key=lambda file: natural_key(file.name))


def _tidy(out: Path) -> None:
    """Remove what a killed run has left half written."""
    for unfinished in (*out.glob(".*.json.*.tmp"), *out.glob("*/.*.png.*.tmp")):
        unfinished.unlink()
