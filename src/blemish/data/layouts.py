"""The three ways in which a dataset may lie on disk. Nothing here opens a photo."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from blemish.data.listing import (
    Listing,
    Problem,
    composed,
    files_below,
    in_order,
    is_photo,
    path_inside,
    photos_directly_in,
    subfolders,
)
from blemish.data.pairing import MASK_TREES, NO_MASK_FIX, Masks, Shelf, label_of, scan_shelves
from blemish.errors import DatasetError
from blemish.records import GOOD, Record

MANIFEST = "manifest.jsonl"
SPLITS = ("train", "test")


def scan_mvtec(root: Path, masks: Masks) -> Listing:
    """Return what an MVTec tree holds.

    Photos: train/<label>/ and test/<label>/. Masks: ground_truth/<label>/<stem>_mask.png, or
    <stem>.png, with any image extension. Folders of photos beside these are left out and reported.
    """
    shelves = [
        Shelf(folder, label_of(folder.name), split)
        for split in SPLITS
        for folder in subfolders(root / split)
    ]
    loose = tuple(
        Problem(
            "error",
            photo,
            f"{photo} lies directly in {split}/: expected {split}/good/ or {split}/<defect>/",
            f"move it into {split}/good/ or a folder named after its defect",
        )
        for split in SPLITS
        for photo in photos_directly_in(root / split)
    )
    found = scan_shelves(root, shelves, masks)
    beside = tuple(_beside_splits(root, any(r.is_good and r.split == "train" for r in found.records)))
    errors = tuple(problem for problem in beside if problem.severity == "error")
    warnings = tuple(problem for problem in beside if problem.severity == "warning")
    return replace(found, blocking=errors + loose + found.blocking, stray=warnings + found.stray)


def _beside_splits(root: Path, learns: bool) -> Iterator[Problem]:
    """Yield each folder of photos that an MVTec tree has no place for; learns: train/good/ has photos.

    One of good photos is an error where there are none to learn from.
    """
    for folder in subfolders(root):
        if folder.name in SPLITS or not _holds_photos(folder):
            continue
        what = f"{folder} is left out: beside train/ or test/ no other folder of photos is read"
        if label_of(folder.name) != GOOD:
            places = f"test/{folder.name}/ to judge by, or train/{folder.name}/ to learn from"
            fix = f"move its photos, if they show defects, into {places}"
            yield Problem("warning", folder, what, fix)
        elif learns:
            yield Problem("warning", folder, what, "move its photos into train/good/ or test/good/")
        else:
            yield Problem("error", folder, what, "move its photos into train/good/")


def scan_folder(root: Path, masks: Masks) -> Listing:
    """Return what a plain folder holds.

    `good/` (or `normal/`, `ok/`) holds the good photos; every other folder is a defect type and is
    test. Masks lie beside (`x_mask.png`, `x.mask.png`) or in `ground_truth/` or `masks/` under the
    name of the type. Of n good photos, the floor(n / 5) whose names have the lowest SHA-256 are
    test, as long as there are defects to tell them from. A folder of photos without folders inside
    is all good and all train.
    """
    shelves = [
        Shelf(folder, label_of(folder.name), "train" if label_of(folder.name) == GOOD else "test")
        for folder in subfolders(root)
        if _holds_photos(folder)
    ]
    if not shelves:
        return scan_shelves(root, [Shelf(root, GOOD, "train")], masks)
    loose = tuple(
        Problem(
            "error",
            photo,
            f"{photo} lies beside the folders and is left out",
            "move it into good/ or into the folder of its defect",
        )
        for photo in photos_directly_in(root)
    )
    found = scan_shelves(root, shelves, masks)
    records = _with_test_fifth(root, found.records)
    return replace(found, records=records, stray=loose + found.stray)


def _holds_photos(folder: Path) -> bool:
    """Return whether there are photos at any depth of a folder that is not for masks."""
    return folder.name.lower() not in MASK_TREES and any(map(is_photo, files_below(folder)))


def _with_test_fifth(root: Path, records: tuple[Record, ...]) -> tuple[Record, ...]:
    if all(record.is_good for record in records):
        return records

    def rank(record: Record) -> str:
        return hashlib.sha256(composed(record.image.relative_to(root)).encode()).hexdigest()

    good = sorted((record for record in records if record.is_good), key=rank)
    chosen = set(good[: len(good) // 5])
    return tuple(replace(r, split="test") if r in chosen else r for r in records)


def scan_manifest(path: Path, masks: Masks) -> Listing:
    """Return what a manifest lists: JSON lines with image, mask, label, split, synthetic.

    Paths are relative to the manifest. Only image must be given: label is good by default (`normal`
    and `ok` mean the same), split is train for good photos and test for others. Left out are generated
    pairs that did not pass the quality gate, and lines whose photo is gone, because deleting a bad
    sample by hand is how people clean a generated set.
    """
    records: dict[Path, Record] = {}
    blocking: list[Problem] = []
    stray: list[Problem] = []
    for number, line in _lines(path):
        where = f"{path} line {number}"
        try:
            record = _parse_line(path.parent, line, masks)
            if record.image in records:
                raise DatasetError(f"lists {record.image} again", hint="delete one of the lines")
        except DatasetError as error:
            fix = error.hint or "correct the line"
            blocking.append(Problem("error", path, f"{where}: {error.args[0]}", fix))
            continue
        if _refused(line):
            what = f"{where}: {record.image} did not pass the quality gate; it is left out"
            stray.append(
                Problem("warning", path, what, 'write "accepted": true to use it all the same')
            )
        elif record.image.is_file():
            records[record.image] = record
        else:
            what = f"{where}: {record.image} does not exist; the line is left out"
            stray.append(Problem("warning", path, what, "delete the line, or restore the photo"))
    return Listing(in_order(records.values()), tuple(blocking), tuple(stray))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{path} cannot be read as UTF-8 text: {error}", hint="write one JSON object per line"
        ) from error
    return ((i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip())


def _refused(line: str) -> bool:
    """Return whether a line is of a generated pair that was not accepted."""
    entry = json.loads(line)
    return entry.get("synthetic") is True and entry.get("accepted") is False


def _parse_line(root: Path, line: str, masks: Masks) -> Record:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"is not JSON ({error})", hint='write {"image": "...", "label": "..."} on one line'
        ) from error
    if not isinstance(entry, dict):
        raise DatasetError("is not a JSON object", hint='write {"image": "...", "label": "..."}')
    label = entry.get("label", GOOD)
    if not isinstance(label, str) or not label:
        raise DatasetError(f"label is {label!r}", hint='write "good" or the name of the defect')
    label = label_of(label)
    split = entry.get("split", "train" if label == GOOD else "test")
    synthetic = entry.get("synthetic", False)
    if split not in SPLITS:
        raise DatasetError(f"split is {split!r}", hint='write "train" or "test"')
    if not isinstance(synthetic, bool):
        raise DatasetError(f"synthetic is {synthetic!r}", hint="write true or false")
    image = path_inside(root, entry.get("image"), "image")
    drawn = masks == "auto" and label != GOOD and entry.get("mask") is not None
    mask = path_inside(root, entry["mask"], "mask") if drawn else None
    if mask is not None and image.is_file() and not mask.is_file():
        raise DatasetError(f"{image} has no mask: expected {mask}", hint=NO_MASK_FIX)
    source = entry.get("source_sha256")
    source = source if isinstance(source, str) else None
    return Record(image, label, split, mask, synthetic, source, _made_of(entry))


def _made_of(entry: dict[str, Any]) -> tuple[str, ...]:
    """Return which real defects a pair was made of, as its line says; none where it does not."""
    parameters = entry.get("parameters")
    named = parameters.get("exemplars") if isinstance(parameters, dict) else None
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        return ()
    return tuple(named)
