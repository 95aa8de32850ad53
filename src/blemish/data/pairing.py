"""Which mask belongs to which photo: by name, beside the photo or in a parallel tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from blemish.data.listing import (
    Listing,
    Problem,
    composed,
    files_below,
    in_order,
    is_encodable,
    is_photo,
    subfolders,
)
from blemish.records import GOOD, Record

Masks = Literal["auto", "none"]

GOOD_NAMES = ("good", "normal", "ok")
MASK_TREES = ("ground_truth", "masks", "mask")
_MASK_MARKS = ("_mask", ".mask")

NO_MASK_FIX = "draw it, move photos without a defect to good/, or read without masks: --masks none"


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder whose photos share a label and a split."""

    folder: Path
    label: str
    split: str


def label_of(name: str) -> str:
    """Return the label that a name stands for, of a folder or in a manifest."""
    return GOOD if name.lower() in GOOD_NAMES else name


def scan_shelves(root: Path, shelves: list[Shelf], masks: Masks) -> Listing:
    """Return the photos of all shelves with their masks, and whatever did not find its partner.

    A mask is called `<stem>_mask` or `<stem>.mask` beside its photo, or either of these or just
    `<stem>` in `ground_truth/<label>/` or `masks/<label>/`, each with any image extension. A defect
    type has masks for all its photos or for none. Masks of good photos are left out.
    """
    by_label: dict[str, list[Shelf]] = defaultdict(list)
    for shelf in shelves:
        by_label[shelf.label].append(shelf)
    trees = [f for f in subfolders(root) if f.name.lower() in MASK_TREES]
    records: list[Record] = []
    blocking: list[Problem] = []
    stray = [p for shelf in shelves for p in _unusable(files_below(shelf.folder, trees))]
    for label, places in by_label.items():
        pairs = _Pairs(label, places, trees)
        if masks == "none":
            records += [replace(record, mask=None) for record in pairs.records()]
            continue
        records += pairs.records()
        blocking += pairs.problems()
        stray += [_orphan(mask) for mask in pairs.orphans()]
    if masks == "auto":
        stray += _masks_of_nobody(trees, set(by_label))
    return Listing(in_order(records), tuple(blocking), tuple(stray))


def without_masks(files: Iterable[Path]) -> list[Path]:
    """Return the files but for the masks that lie beside their photos, in the same folder."""
    listed = list(files)
    photos = {_name(file, file.parent, file.stem) for file in listed if not _is_marked(file)}
    return [f for f in listed if not _is_marked(f) or _name(f, f.parent, _bare(f)) not in photos]


class _Pairs:
    """The photos of one label and the masks that carry their names."""

    def __init__(self, label: str, shelves: list[Shelf], trees: list[Path]) -> None:
        self.label, self.trees = label, trees if label != GOOD else []
        self.photos: list[tuple[Record, Path, list[Path]]] = []
        self.claims: dict[Path, list[Path]] = {}
        shared = self._masks_by_name(
            (mask, tree / label) for tree in self.trees for mask in _usable(tree / label)
        )
        for shelf in shelves:
            files = _usable(shelf.folder, trees)
            beside = self._masks_by_name((f, shelf.folder) for f in files if _is_marked(f))
            for photo in files:
                if not _is_marked(photo):
                    self._pair(Record(photo, label, shelf.split), shelf.folder, beside, shared)

    def _masks_by_name(self, masks: Iterable[tuple[Path, Path]]) -> dict[str, list[Path]]:
        names: dict[str, list[Path]] = defaultdict(list)
        for mask, folder in masks:
            names[_name(mask, folder, _bare(mask))].append(mask)
            self.claims[mask] = []
        return names

    def _pair(self, record: Record, folder: Path, *names: dict[str, list[Path]]) -> None:
        name = _name(record.image, folder, record.image.stem)
        found = [mask for masks in names for mask in masks.get(name, [])]
        for mask in found:
            self.claims[mask].append(record.image)
        shelf = self.trees[0] / self.label if self.trees else folder
        expected = shelf / record.image.relative_to(folder).with_name(f"{record.image.stem}_mask.png")
        self.photos.append((record, expected, found))

    def records(self) -> list[Record]:
        """Return the photos with their masks; good photos keep none."""
        if self.label == GOOD:
            return [record for record, *_ in self.photos]
        return [replace(record, mask=found[0] if found else None) for record, _, found in self.photos]

    def orphans(self) -> list[Path]:
        """Return the masks that belong to no photo."""
        return [mask for mask, photos in self.claims.items() if not photos]

    def problems(self) -> Iterator[Problem]:
        """Yield what leaves a photo without a mask or with more than one."""
        if self.label == GOOD:
            return
        for record, expected, found in self.photos:
            if not found and self.claims:
                what = f"{record.image} has no mask: expected {expected}"
                yield Problem("error", record.image, what, NO_MASK_FIX)
            if len(found) > 1:
                what = f"{record.image} has {len(found)} masks: {', '.join(map(str, found))}"
                yield Problem("error", record.image, what, "keep one of them")
        for mask, photos in self.claims.items():
            if len(photos) > 1:
                what = f"{mask} fits {len(photos)} photos: {', '.join(map(str, photos))}"
                yield Problem("error", mask, what, "give each photo a name of its own")


def _usable(folder: Path, without: Iterable[Path] = ()) -> list[Path]:
    return [f for f in files_below(folder, without) if is_photo(f) and is_encodable(f)]


def _unusable(files: list[Path]) -> Iterator[Problem]:
    for file in files:
        if not is_encodable(file):
            name = file.name.encode("utf-8", "backslashreplace").decode()
            what = f"{file.parent} holds {name}, whose name is not valid UTF-8; it is left out"
            yield Problem("error", file.parent, what, "rename the file")
        elif not is_photo(file):
            what = f"{file} is left out: {file.suffix or 'no extension'} is no image extension"
            yield Problem("warning", file, what, "rename or convert it if it is a photo")


def _masks_of_nobody(trees: list[Path], labels: set[str]) -> Iterator[Problem]:
    for tree in trees:
        for mask in _usable(tree):
            folder = mask.relative_to(tree).parts[0]
            if mask.parent == tree:
                yield _orphan(mask, f"move it into {tree.name}/<type>/, the type of its photo")
            elif folder not in labels and folder.lower() not in GOOD_NAMES:
                yield _orphan(mask)


def _is_marked(file: Path) -> bool:
    return file.stem.lower().endswith(_MASK_MARKS)


def _bare(mask: Path) -> str:
    """Return the stem of a mask's photo."""
    return mask.stem[: -len(_MASK_MARKS[0])] if _is_marked(mask) else mask.stem


def _name(file: Path, folder: Path, stem: str) -> str:
    return composed(file.relative_to(folder).parent / stem)


def _orphan(mask: Path, fix: str = "give it the name of its photo, or delete it") -> Problem:
    return Problem("error", mask, f"{mask} is a mask without an image", fix)
