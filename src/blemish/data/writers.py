"""Samples in memory to a dataset folder that `read_dataset` reads back as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.data.images import write_png
from blemish.data.layouts import MANIFEST, SPLITS
from blemish.errors import DatasetError
from blemish.records import GOOD, Record


def write_sample(
    root: Path,
    label: str,
    stem: str,
    image: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_] | None = None,
    *,
    split: str = "test",
    synthetic: bool = False,
) -> Record:
    """Return the record of a sample written as PNG in the MVTec layout, overwriting its namesake.

    The photo goes to <split>/<label>/<stem>.png, the mask to ground_truth/<label>/<stem>_mask.png.
    image: uint8 RGB (H, W, 3); mask: bool (H, W), for defects only. The layout alone cannot say
    `synthetic`: pass the record to `append_manifest` to keep it.

    Raises:
        DatasetError: the names make no file, the mask does not belong, or the other split already
            has a defect of this name (the two would share one mask file).
    """
    _refuse_bad_names(label, stem, split)
    _refuse_bad_mask(label, image, mask)
    photo = root / split / label / f"{stem}.png"
    others = (root / other / label / photo.name for other in SPLITS if other != split)
    if label != GOOD and any(other.exists() for other in others):
        raise DatasetError(
            f"{label}/{stem} is already in the other split", hint="give the sample another stem"
        )
    drawn = None if mask is None else root / "ground_truth" / label / f"{stem}_mask.png"
    # The mask first: a photo without its mask would be an error, a mask without photo a leftover.
    if drawn is not None and mask is not None:
        write_png(drawn, mask)
    write_png(photo, image)
    return Record(photo, label, split, drawn, synthetic)


def append_manifest(root: Path, record: Record) -> None:
    """Add a record to the folder's manifest.jsonl, as one line with paths relative to the folder.

    Where there is a manifest, readers believe it alone: add every record of the folder.
    """
    files = {"image": record.image, "mask": record.mask}
    line = {what: file and file.relative_to(root).as_posix() for what, file in files.items()}
    facts = {"label": record.label, "split": record.split, "synthetic": record.synthetic}
    with (root / MANIFEST).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line | facts, ensure_ascii=False) + "\n")


def refuse_bad_name(what: str, name: str) -> None:
    """Stop where a name cannot be a file's or a folder's on every system.

    Raises:
        DatasetError: it cannot.
    """
    if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|\0'):
        raise DatasetError(f"{what} {name!r} makes no file name", hint="use letters and digits")


def _refuse_bad_names(label: str, stem: str, split: str) -> None:
    if split not in SPLITS:
        raise DatasetError(f"split is {split!r}", hint='use "train" or "test"')
    for what, name in (("label", label), ("stem", stem)):
        refuse_bad_name(what, name)
    if stem.lower().endswith(("_mask", ".mask")):
        raise DatasetError(f"stem {stem!r} is taken for a mask", hint="end it in another word")


def _refuse_bad_mask(
    label: str, image: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_] | None
) -> None:
    if mask is None:
        return
    if label == GOOD:
        raise DatasetError("a good photo was given a mask", hint="leave the mask out")
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise DatasetError(
            f"the mask is {mask.dtype} {mask.shape}: expected bool {image.shape[:2]}",
            hint="give a bool mask of the photo's height and width",
        )
