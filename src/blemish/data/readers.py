"""A path in, a dataset out: which photos there are, what they show, and what they are for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from blemish.data.images import read_image, read_mask
from blemish.data.layouts import MANIFEST, SPLITS, scan_folder, scan_manifest, scan_mvtec
from blemish.data.listing import Listing, natural_key, subfolders
from blemish.data.pairing import MASK_TREES, Masks
from blemish.errors import DatasetError
from blemish.records import Record, Sample

Layout = Literal["mvtec", "folder", "manifest"]
AnyLayout = Literal["auto", "mvtec", "folder", "manifest"]

logger = logging.getLogger("blemish.data")


@dataclass(frozen=True, slots=True)
class Dataset:
    """The photos of one product, in natural order."""

    root: Path
    records: tuple[Record, ...]
    layout: Layout

    @property
    def train(self) -> tuple[Record, ...]:
        """Good photos to learn from; never one from the test split."""
        return tuple(r for r in self.records if r.split == "train" and r.is_good)

    @property
    def train_defects(self) -> tuple[Record, ...]:
        """Defect photos to learn from, real or synthetic; never one from the test split."""
        return tuple(r for r in self.records if r.split == "train" and not r.is_good)

    @property
    def test(self) -> tuple[Record, ...]:
        """Photos to judge by, good and defective; training must not see them."""
        return tuple(r for r in self.records if r.split == "test")

    @property
    def defects(self) -> tuple[Record, ...]:
        """All defect photos, of both splits."""
        return tuple(r for r in self.records if not r.is_good)

    @property
    def defect_types(self) -> tuple[str, ...]:
        """The names of the defects, in natural order."""
        return tuple(sorted({r.label for r in self.defects}, key=natural_key))


def read_dataset(path: Path, layout: AnyLayout = "auto", masks: Masks = "auto") -> Dataset:
    """Return the dataset at a path: an MVTec tree, a plain folder, or a manifest.

    layout: `auto` takes a manifest where there is one, an MVTec tree where there is a `train` or
    `test` folder, and a plain folder otherwise (see `scan_mvtec`, `scan_folder`, `scan_manifest`).
    masks: `none` leaves all masks out. No photo is opened; `check` does that.

    Raises:
        DatasetError: the path holds no photos, or a photo and its mask cannot be paired.
    """
    path = Path(path)
    known = detect_layout(path) if layout == "auto" else layout
    found = scan(path, known, masks)
    if found.blocking:
        first, count = found.blocking[0], len(found.blocking)
        more = f" (and {count - 1} more: blemish check lists them)" if count > 1 else ""
        raise DatasetError(first.what + more, hint=first.fix)
    for problem in found.stray:
        logger.debug("%s", problem.what)
    if not found.records:
        raise no_photos(path, known)
    return Dataset(path.parent if path.is_file() else path, found.records, known)


def read_sample(record: Record) -> Sample:
    """Return a record's photo and mask; a good photo's mask is all False, an undrawn one None.

    Raises:
        ImageError: a file cannot be read, or the mask is not of the photo's size.
    """
    image = read_image(record.image)
    if record.is_good:
        return Sample(image, np.zeros(image.shape[:2], np.bool_), record)
    if record.mask is None:
        return Sample(image, None, record)
    return Sample(image, read_mask(record.mask, (image.shape[0], image.shape[1])), record)


def refuse_inside(dataset: Dataset, out: Path) -> None:
    """Stop where results would be written among photos: pictures there are read as photos of defects.

    Raises:
        DatasetError: `out` lies in a plain folder of photos, or in a split of an MVTec tree.
    """
    root, target = dataset.root.resolve(), out.resolve()
    shelves = {
        "folder": [root],
        "mvtec": [root / name for name in (*SPLITS, *MASK_TREES)],
        "manifest": [],
    }
    if any(target.is_relative_to(shelf) for shelf in shelves[dataset.layout]):
        raise DatasetError(
            f"{out} lies among the photos of {dataset.root}: pictures written there would be read as "
            "defects",
            hint="give --out a folder elsewhere",
        )


def detect_layout(path: Path) -> Layout:
    """Return how the photos at a path are laid out.

    Raises:
        DatasetError: there is no dataset, or there are several.
    """
    if path.is_file() and path.suffix.lower() == ".jsonl":
        return "manifest"
    if not path.is_dir():
        found = "is a file" if path.exists() else "does not exist"
        raise DatasetError(
            f"{path} {found}: expected a folder of photos or a {MANIFEST}",
            hint="give the folder that holds train/ and test/, or good/",
        )
    if (path / MANIFEST).is_file():
        return "manifest"
    if _is_mvtec(path):
        return "mvtec"
    several = [folder.name for folder in subfolders(path) if _is_mvtec(folder)]
    if several:
        raise DatasetError(
            f"{path} holds several datasets: {', '.join(several)}",
            hint=f"name one of them, for example {path / several[0]}",
        )
    return "folder"


def scan(path: Path, layout: Layout, masks: Masks) -> Listing:
    """Return everything that a dataset of this layout holds, good and bad.

    Raises:
        DatasetError: the layout or the choice of masks has no such name, or nothing can be listed.
    """
    for what, value, choices in (("layout", layout, Layout), ("masks", masks, Masks)):
        if value not in get_args(choices):
            raise DatasetError(
                f"{what} is {value!r}", hint=f"choose from: auto, {', '.join(get_args(choices))}"
            )
    if layout == "manifest":
        return scan_manifest(path / MANIFEST if path.is_dir() else path, masks)
    return scan_mvtec(path, masks) if layout == "mvtec" else scan_folder(path, masks)


def no_photos(path: Path, layout: Layout) -> DatasetError:
    """Return the error for a dataset without photos."""
    expected = {
        "mvtec": "photos in train/good/",
        "folder": "photos in good/, or directly in the folder",
        "manifest": "lines whose photos exist",
    }
    return DatasetError(
        f"{path} holds no photos: expected {expected[layout]}",
        hint="check the path; photos are recognised by their extension, such as .png or .jpg",
    )


def _is_mvtec(folder: Path) -> bool:
    return any((folder / split).is_dir() for split in SPLITS)
