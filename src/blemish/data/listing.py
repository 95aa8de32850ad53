"""What a scan of a folder finds: records, problems, and files in the order that people expect."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from blemish.data.images import IMAGE_EXTENSIONS
from blemish.errors import DatasetError

if TYPE_CHECKING:
    from blemish.records import Record

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a dataset: where, what, and what to do about it."""

    severity: Severity
    file: Path
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What a scan found. blocking: a reader must stop. stray: a reader can do without."""

    records: tuple[Record, ...]
    blocking: tuple[Problem, ...] = ()
    stray: tuple[Problem, ...] = ()


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key that puts 2 before 10: runs of digits compare as numbers.

    >>> sorted(["b10", "b2", "a"], key=natural_key)
    ['a', 'b2', 'b10']
    """
    # re.split alternates text and digits, so equal positions always hold equal types.
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], name


def path_key(path: Path) -> list[tuple[list[str | int], str]]:
    """Return the natural sort key of a path, folder by folder."""
    return [natural_key(part) for part in path.parts]


def in_order(records: Iterable[Record]) -> tuple[Record, ...]:
    """Return the records in the natural order of their photos' paths."""
    return tuple(sorted(records, key=lambda record: path_key(record.image)))


def composed(name: Path) -> str:
    """Return a path as text with composed accents: archives from other systems split them."""
    return unicodedata.normalize("NFC", name.as_posix())


def is_photo(path: Path) -> bool:
    """Return whether a file counts as a photo or mask by its extension; hidden ones never do."""
    return path.suffix.lower() in IMAGE_EXTENSIONS and not path.name.startswith(".")


def is_encodable(path: Path) -> bool:
    """Return whether a file's name can be written as UTF-8, in a manifest or on a screen."""
    return not any("\ud800" <= character <= "\udfff" for character in path.name)


def subfolders(folder: Path) -> list[Path]:
    """Return the visible folders directly inside, in natural order."""
    if not folder.is_dir():
        return []
    inside = (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return sorted(inside, key=path_key)


def photos_directly_in(folder: Path) -> list[Path]:
    """Return the photos of a folder but not of the folders inside it, in natural order."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if p.is_file() and is_photo(p)), key=path_key)


def files_below(folder: Path, without: Iterable[Path] = ()) -> list[Path]:
    """Return every visible file below a folder, but for the folders left out, in natural order."""
    skipped = set(without)
    found = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [f for f in folders if not f.startswith(".") and here / f not in skipped]
        found += [here / name for name in names if not name.startswith(".")]
    return sorted(found, key=path_key)


def path_inside(root: Path, name: object, what: str, *, links: bool = True) -> Path:
    """Return root / name, refusing anything that is not a file name below the root.

    links: refuse a link that leads out of the root, too; without, the name alone is looked at.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise DatasetError(f"{what} is {name!r}", hint="give a path relative to the dataset")
    path, place = root / name, os.path.realpath if links else os.path.abspath
    if not Path(place(path)).is_relative_to(place(root)):
        raise DatasetError(
            f"{what} leaves the dataset: {name}",
            hint=f"keep all files below {root} and write their paths relative to it",
        )
    return path
