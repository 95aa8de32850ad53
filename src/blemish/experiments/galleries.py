"""Pictures for the reports: real defects beside generated ones, test photos beside their maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from blemish.data import letterbox, read_sample
from blemish.data.pictures import outlined, overlay, thumbnail
from blemish.experiments.localisation import Maps
from blemish.experiments.tables import Gallery
from blemish.generation import window_around
from blemish.records import Record, by_label
from blemish.runtime import atomic_write

Photo = npt.NDArray[np.uint8]
Item = TypeVar("Item")

GALLERY = "gallery.npz"
HEADS = ("photo", "map", "mask")
LOOK_HEADS = ("photo", "normal look", "map", "mask")
_SHOWN_PER_TYPE, _SHOWN_SIDE, _SQUARE = 2, 160, 128


def pairs_gallery(name: str, real: Sequence[Record], made: Sequence[Record]) -> Gallery:
    """Return real defects beside generated ones, by type, each in a square around it."""
    rows, generated = [], by_label(made)
    for label, group in by_label(real).items():
        some = [_spread(part, 2) for part in (group, generated.get(label, []))]
        if all(len(part) == 2 for part in some):
            rows.append((label, [_defect(record) for part in some for record in part]))
    heads = ("real", "real", "generated", "generated")
    return Gallery(f"{name}: what is generated", heads, rows, "Masks are outlined.")


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    places = np.linspace(0, len(items) - 1, min(len(items), count)).round()
    return [items[int(place)] for place in places]


def _defect(record: Record) -> Photo:
    sample = read_sample(record)
    assert sample.mask is not None  # noqa: S101 - the records have masks
    window = window_around(sample.mask, _SQUARE)
    return outlined(window.cut(sample.image), window.cut_mask(sample.mask))


def some_of_each(labels: Sequence[str], scores: Sequence[float]) -> list[int]:
    """Return the places of two photos of each label, those of the least and of the largest score."""
    chosen = []
    for label in sorted(set(labels)):
        members = [n for n, found in enumerate(labels) if found == label]
        chosen += _spread(sorted(members, key=lambda n: scores[n]), _SHOWN_PER_TYPE)
    return chosen


def write_gallery(path: Path, maps: Maps, looks: Mapping[int, Photo] | None = None) -> None:
    """Write some test photos with map and mask, thumbnails, atomically.

    looks: the normal looks, uint8 (S, S, 3), of the photos to show, by their places; None shows
    `some_of_each` by the scores.
    """
    names, pictures = [], []
    for number in some_of_each(maps.labels, maps.scores.tolist()) if looks is None else looks:
        square = letterbox(read_sample(maps.records[number]).image, maps.maps[number].shape[0])[0]
        hot = overlay(square, maps.maps[number] / max(1.0, float(maps.maps[number].max())))
        drawn = np.repeat(maps.masks[number][..., None], 3, axis=2).astype(np.uint8) * 255
        shown = (square, hot, drawn) if looks is None else (square, looks[number], hot, drawn)
        names.append(maps.labels[number])
        pictures.append([thumbnail(picture, _SHOWN_SIDE) for picture in shown])
    with atomic_write(path) as file:
        np.savez_compressed(file, names=np.array(names), pictures=np.array(pictures))


def read_gallery(path: Path) -> list[tuple[str, list[npt.NDArray[np.uint8]]]]:
    """Return the rows of `write_gallery`: a label, and pictures as in `HEADS` or `LOOK_HEADS`."""
    with np.load(path, allow_pickle=False) as found:
        rows = zip(found["names"].tolist(), found["pictures"], strict=True)
        return [(name, list(pictures)) for name, pictures in rows]
