"""Datasets in the formats of other tools: COCO and YOLO instance segmentation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from blemish.data.listing import in_order, natural_key
from blemish.data.outlines import Mask, Ring, outline, parts
from blemish.data.readers import read_sample
from blemish.errors import DatasetError
from blemish.records import Record, Sample
from blemish.runtime import atomic_write, write_json

_YOLO_SPLITS = {"train": "train", "test": "val"}


def write_coco(path: Path, records: Iterable[Record], root: Path) -> None:
    """Write photos and defects as one COCO file: an instance for each connected part of a mask.

    A hole is kept by a bridge of no width in the part's polygon. Corners are in pixels, (0, 0) at the
    outer corner of the first; area counts pixels; categories are the types in natural order, from 1.
    Good photos have no annotation. File names are relative to the root.

    Raises:
        DatasetError: a defect has no mask, or a photo lies outside the root.
    """
    ordered = in_order(records)
    names = _types(ordered)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in ordered:
        sample, mask = _labelled(record)
        height, width = mask.shape
        name = _below(root, record.image)
        images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
        for part in parts(mask):
            tall, wide = part.mask.shape
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": names.index(sample.record.label) + 1,
                    "segmentation": [[value for corner in outline(part) for value in corner]],
                    "area": int(part.mask.sum()),
                    "bbox": [part.left, part.top, wide, tall],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i, "name": name, "supercategory": "defect"} for i, name in enumerate(names, 1)]
    write_json(path, {"images": images, "annotations": annotations, "categories": categories})


def write_yolo(folder: Path, records: Iterable[Record], dropped: Iterable[Record] = ()) -> None:
    """Write photos and defects for YOLO segmentation: images/, labels/ and data.yaml.

    Photos are copied byte for byte to images/<train or val>/<type>_<stem><suffix>; test is called val,
    and is train where there is none. A line of the label file is a type's number, from 0, and the
    corners of one connected part as shares of width and height, see `outline`. Good photos have an
    empty label file. dropped: photos that are taken out, had an earlier call written them.

    Raises:
        DatasetError: a defect has no mask, or two photos would get the same name.
    """
    ordered = in_order(records)
    names = _types(ordered)
    taken: set[tuple[str, str]] = set()
    for record in ordered:
        split, stem = _yolo_place(record)
        if (split, stem) in taken:
            raise DatasetError(
                f"{record.image} has the name of another photo of {record.label}", hint="rename one"
            )
        taken.add((split, stem))
        _, mask = _labelled(record)
        lines = (_yolo_line(names.index(record.label), outline(part), mask) for part in parts(mask))
        with atomic_write(folder / "labels" / split / f"{stem}.txt", "w") as file:
            file.writelines(lines)
        with atomic_write(folder / "images" / split / (stem + record.image.suffix)) as file:
            file.write(record.image.read_bytes())
    for record in dropped:
        split, stem = _yolo_place(record)
        if (split, stem) not in taken:
            (folder / "labels" / split / f"{stem}.txt").unlink(missing_ok=True)
            (folder / "images" / split / (stem + record.image.suffix)).unlink(missing_ok=True)
    judged = "val" if any(split == "val" for split, _ in taken) else "train"
    # JSON is YAML, and says what a type's name is even where it looks like a number.
    listed = {"train": "images/train", "val": f"images/{judged}", "names": list(names)}
    with atomic_write(folder / "data.yaml", "w") as file:
        file.write(json.dumps(listed, ensure_ascii=False) + "\n")


def _yolo_place(record: Record) -> tuple[str, str]:
    """Return the folder and the stem under which a photo is written."""
    return _YOLO_SPLITS[record.split], f"{record.label}_{record.image.stem}"


def _types(records: Sequence[Record]) -> tuple[str, ...]:
    return tuple(sorted({r.label for r in records if not r.is_good}, key=natural_key))


def _labelled(record: Record) -> tuple[Sample, Mask]:
    sample = read_sample(record)
    if sample.mask is None:
        raise DatasetError(
            f"{record.image} has no mask to write", hint="draw it, or leave the photo out"
        )
    return sample, sample.mask


def _yolo_line(number: int, ring: Ring, mask: Mask) -> str:
    height, width = mask.shape
    shares = (f"{x / width:.6f} {y / height:.6f}" for x, y in ring)
    return f"{number} {' '.join(shares)}\n"


def _below(root: Path, file: Path) -> str:
    if not file.is_relative_to(root):
        raise DatasetError(f"{file} is not below {root}", hint="give the dataset's own root")
    return file.relative_to(root).as_posix()
