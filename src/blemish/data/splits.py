"""Who learns, who selects, who judges: decided by content, written down with hashes, enforced."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blemish.data.listing import in_order, path_inside
from blemish.errors import DatasetError
from blemish.records import Record, by_label
from blemish.runtime import file_sha256, write_json

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Split:
    """The photos that training learns from and those that selection and calibration hold out.

    digest: SHA-256 over the content hashes of both sides; the same photos split in the same way
    have the same digest on every machine.

    Raises:
        DatasetError: a record is of the test split, or a photo is on both sides.
    """

    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    digest: str

    def __post_init__(self) -> None:
        refuse_test(self.train + self.validation)
        both = {r.image for r in self.train} & {r.image for r in self.validation}
        if both:
            raise DatasetError(
                f"{min(both)} is both in train and in validation", hint="make the split anew"
            )


def refuse_test(records: Iterable[Record]) -> None:
    """Stop where a test photo is about to be learnt or selected from.

    Raises:
        DatasetError: a record's split is not `train`.
    """
    for record in records:
        if record.split != "train":
            raise DatasetError(
                f"{record.image} is of the {record.split} split: only train may be learnt from",
                hint="pass dataset.train or dataset.train_defects",
            )


def hold_out(
    records: Sequence[Record],
    *,
    seed: int,
    fraction: float = 0.15,
    at_least: int = 8,
    families: Sequence[int] | None = None,
) -> Split:
    """Return the records split into train and validation, by what the photos hold.

        rank = SHA-256(seed, SHA-256 of the file);  lowest ranks are validation

    Neither names, folders nor the order of the records play a part. The validation side gets
    max(at_least, round(fraction * n)) photos, but never more than half. Copies of one photo stay
    together, and so do photos of one family; a group that does not fit goes to train. While there are
    fewer than `at_least` groups, up to a quarter of the photos fit. families: a number for each record,
    equal for photos of one part; None = all are strangers.

    Raises:
        DatasetError: a record is of the test split, or fraction is not in [0, 1).
    """
    if not 0 <= fraction < 1 or at_least < 0:
        raise DatasetError(
            f"cannot hold out a fraction of {fraction} and at least {at_least} photos",
            hint="give a fraction in [0, 1), for example 0.15, and a count of 0 or more",
        )
    # Checked before hashing: not even a hash of a test photo may decide anything.
    refuse_test(records)
    contents = [file_sha256(record.image) for record in records]
    numbers = _kin(contents, range(len(contents)) if families is None else families)
    first: dict[int | str, str] = {}
    for content, number in sorted(zip(contents, numbers, strict=True)):
        first.setdefault(number, content)
    groups: dict[str, list[Record]] = defaultdict(list)
    for record, number in zip(records, numbers, strict=True):
        groups[first[number]].append(record)
    wanted = min(max(at_least, round(fraction * len(records))), len(records) // 2)
    train: list[Record] = []
    validation: list[Record] = []
    kept = 0
    for content in sorted(groups, key=lambda content: _rank(seed, content)):
        room = wanted if kept >= at_least else max(wanted, len(records) // 4)
        fits = len(validation) + len(groups[content]) <= room
        (validation if fits else train).extend(groups[content])
        kept += fits
    return _split(train, validation)


def first_third(records: Iterable[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Return (shots, rest): of each defect type the first third to learn from, and the others.

        n_shots = max(1, floor(n / 3))    (AnomalyDiffusion, Sec. 4.1)

    First in natural order of the file names. The shots come back with split `train`, the rest as
    they were. A type with one photo gives it to the shots and leaves none to judge by.
    """
    shots: list[Record] = []
    rest: list[Record] = []
    for group in by_label(in_order(records)).values():
        count = max(1, len(group) // 3)
        shots += [replace(record, split="train") for record in group[:count]]
        rest += group[count:]
    return in_order(shots), in_order(rest)


def write_split(path: Path, split: Split, root: Path) -> None:
    """Write a split as JSON, atomically: names relative to the root, and a SHA-256 of each file.

    Raises:
        DatasetError: a photo lies outside the root, or changed since the split was made.
    """
    if _digest(split.train, split.validation) != split.digest:
        raise DatasetError("photos changed since the split was made", hint="make the split anew")
    sides = {"train": split.train, "validation": split.validation}
    entries = {side: [_entry(record, root) for record in part] for side, part in sides.items()}
    write_json(path, {"schema": SCHEMA, "digest": split.digest, **entries})


def read_split(path: Path, root: Path) -> Split:
    """Return the split that a file describes, after hashing every photo and mask that it names.

    Raises:
        DatasetError: the file is damaged or too new, or a photo is missing or has changed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
        if schema != SCHEMA:
            raise DatasetError(
                f"{path} has schema {schema}: expected {SCHEMA}",
                hint="update blemish, or make the split anew",
            )
        train, validation = (
            [_record(entry, root) for entry in content[side]] for side in ("train", "validation")
        )
        split, written = _split(train, validation), content["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} is not a split file ({type(error).__name__}: {error})",
            hint="make the split anew",
        ) from error
    if split.digest != written:
        raise DatasetError(
            f"{path} was edited: its digest is not that of its photos", hint="make the split anew"
        )
    return split


def _kin(contents: Sequence[str], families: Sequence[int]) -> list[int | str]:
    """Return one mark for all photos that content or family joins, directly or through others."""
    above: dict[int | str, int | str] = {}

    def top(mark: int | str) -> int | str:
        above.setdefault(mark, mark)
        while above[mark] != mark:
            above[mark] = above[above[mark]]
            mark = above[mark]
        return mark

    for content, family in zip(contents, families, strict=True):
        above[top(content)] = top(family)
    return [top(content) for content in contents]


def _rank(seed: int, content: str) -> str:
    return hashlib.sha256(f"{seed}:{content}".encode()).hexdigest()


def _split(train: list[Record], validation: list[Record]) -> Split:
    return Split(in_order(train), in_order(validation), _digest(train, validation))


def _digest(train: Iterable[Record], validation: Iterable[Record]) -> str:
    sides = [sorted(file_sha256(r.image) for r in part) for part in (train, validation)]
    return hashlib.sha256(json.dumps(sides).encode()).hexdigest()


def _entry(record: Record, root: Path) -> dict[str, Any]:
    files = {"image": record.image, "mask": record.mask}
    return {
        **{what: file and _relative(file, root) for what, file in files.items()},
        **{f"{what}_sha256": file and file_sha256(file) for what, file in files.items()},
        "label": record.label,
        "synthetic": record.synthetic,
    }


def _record(entry: dict[str, Any], root: Path) -> Record:
    image = _verified(entry, "image", root)
    mask = _verified(entry, "mask", root) if entry["mask"] is not None else None
    return Record(image, entry["label"], "train", mask, entry["synthetic"])


def _verified(entry: dict[str, Any], what: str, root: Path) -> Path:
    file = path_inside(root, entry[what], what, links=False)  # the hash tells what lies behind one
    expected = entry[f"{what}_sha256"]
    if not file.is_file():
        raise DatasetError(f"{file} is missing", hint="restore it, or make the split anew")
    if file_sha256(file) != expected:
        raise DatasetError(
            f"{file} changed since the split was written", hint="restore it, or make the split anew"
        )
    return file


def _relative(file: Path, root: Path) -> str:
    if not file.is_relative_to(root):
        raise DatasetError(f"{file} is not below {root}", hint="give the dataset's own root")
    return file.relative_to(root).as_posix()
