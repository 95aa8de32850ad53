"""Benchmarks as their authors distribute them: a folder in, a dataset for each category out."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from blemish.data.layouts import SPLITS
from blemish.data.listing import in_order, path_inside, path_key, photos_directly_in, subfolders
from blemish.data.readers import Dataset, read_dataset
from blemish.errors import DatasetError
from blemish.records import GOOD, Record

AnyBenchmark = Literal["auto", "mvtec", "visa", "dagm", "mpdd"]

_MVTEC = "<category>/train/good/, <category>/test/<defect>/, <category>/ground_truth/<defect>/"
_EXPECTED = {
    "mvtec": _MVTEC,
    "visa": "split_csv/1cls.csv and <category>/Data/",
    "dagm": "Class<N>/Train/ and Class<N>/Test/, each with Label/",
    "mpdd": _MVTEC,
}
_VISA_SPLIT = Path("split_csv", "1cls.csv")
_VISA_COLUMNS = {"object", "split", "label", "image", "mask"}
_AGAIN = "unpack the archive again"


def read_benchmark(root: Path, name: AnyBenchmark = "auto") -> dict[str, Dataset]:
    """Return the dataset of each category of a benchmark, in natural order; no photo is opened.

    name: `mvtec` (MVTec AD), `visa` (the split for one class), `dagm` (DAGM 2007) or `mpdd`, each as
    it comes out of its archive; `auto` knows them by their folders, and MPDD's are those of MVTec AD.
    The root may also be the folder of one category, except of VisA's, whose split lies beside it.
    Categories that are not there are left out.

    VisA does not name the types of its defects: all are `anomaly`. All of DAGM's are `defect`, and some
    are of its train split. Detectors are compared after learning from `Dataset.train` alone, which has
    none of them; `train_defects` does, and `synthesis.examples_share = 0` keeps a detector from it.

    Raises:
        DatasetError: the tree is of another kind, or a photo or a mask is missing.
    """
    root = Path(root)
    if name != "auto" and name not in _READERS:
        raise DatasetError(f"benchmark is {name!r}", hint=f"choose from: auto, {', '.join(_READERS)}")
    kinds = tuple(_READERS) if name == "auto" else (name,)
    if found := find_benchmark(root, kinds):
        return found
    expected = "; ".join(f"{kind}: {_EXPECTED[kind]}" for kind in kinds)
    found_instead = "holds no such benchmark" if root.is_dir() else "is not a folder"
    raise DatasetError(
        f"{root} {found_instead}: expected {expected}",
        hint="give the folder that holds the categories; "
        "a copy that somebody sorted into train/good/ and test/ is read as mvtec",
    )


def find_benchmark(root: Path, kinds: Sequence[str] = ()) -> dict[str, Dataset]:
    """Return the dataset of each category, {} where the tree is of none of these kinds; () = all.

    Raises:
        DatasetError: it is of one of them, but a photo or a mask is missing.
    """
    for kind in kinds or _READERS:
        if found := _READERS[kind](root):
            return found
    return {}


def _read_mvtec(root: Path) -> dict[str, Dataset]:
    return {name: read_dataset(folder, "mvtec") for name, folder in _categories(root, SPLITS).items()}


def _categories(root: Path, splits: tuple[str, ...]) -> dict[str, Path]:
    """Return the folders that hold a split, by name: the root itself, or those in it.

    The names are compared as they are listed, because some file systems take Train for train.
    """
    if _holds(root, splits):
        return {root.resolve().name: root}
    # Some copies of an archive unpack into a folder within a folder of the same name.
    nested = ((folder, folder / folder.name) for folder in subfolders(root))
    folders = [inner if inner.is_dir() else outer for outer, inner in nested]
    return {folder.name: folder for folder in folders if _holds(folder, splits)}


def _holds(folder: Path, splits: tuple[str, ...]) -> bool:
    return any(inside.name in splits for inside in subfolders(folder))


def _read_dagm(root: Path) -> dict[str, Dataset]:
    splits = {split.capitalize(): split for split in SPLITS}
    datasets = {}
    for name, folder in _categories(root, tuple(splits)).items():
        records = [r for place, split in splits.items() for r in _dagm_split(folder / place, split)]
        if not records:
            raise DatasetError(
                f"{folder} holds no photos: expected Train/0001.PNG and so on", hint=_AGAIN
            )
        datasets[name] = Dataset(folder, in_order(records), "folder")
    return datasets


def _dagm_split(folder: Path, split: str) -> Iterator[Record]:
    """Yield the photos of a split: good, unless there is a mask Label/<stem>_label.PNG."""
    photos, labels = photos_directly_in(folder), folder / "Label"
    if photos and not labels.is_dir():
        raise DatasetError(
            f"{folder} has no Label/: without its masks, defects would count as good", hint=_AGAIN
        )
    masks = {mask.stem.removesuffix("_label"): mask for mask in photos_directly_in(labels)}
    listing = labels / "Labels.txt"
    listed = listing.read_text(encoding="utf-8", errors="replace") if listing.is_file() else ""
    for stem, mask in re.findall(r"(\S+)(_label\.\w+)", listed):
        if stem not in masks:
            raise DatasetError(
                f"{labels / (stem + mask)} does not exist, and {listing} lists it", hint=_AGAIN
            )
    for photo in photos:
        mask = masks.get(photo.stem)
        yield Record(photo, "defect" if mask else GOOD, split, mask)


def _read_visa(root: Path) -> dict[str, Dataset]:
    listing = root / _VISA_SPLIT
    records: dict[Path, list[Record]] = defaultdict(list)
    for number, row in _rows(listing) if listing.is_file() else ():
        try:
            folder = path_inside(root, row["object"], "object")
            if folder.is_dir():
                records[folder].append(_visa_record(folder, row))
        except DatasetError as error:
            raise DatasetError(f"{listing} line {number}: {error.args[0]}", hint=error.hint) from error
    return {
        folder.name: Dataset(folder, in_order(records[folder]), "manifest")
        for folder in sorted(records, key=path_key)
    }


def _rows(listing: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    try:
        with listing.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = _VISA_COLUMNS - set(reader.fieldnames or ())
            if missing:
                raise DatasetError(
                    f"{listing} has no column {', '.join(sorted(missing))}",
                    hint="take the file that VisA comes with",
                )
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{listing} cannot be read as a table: {error}", hint="take the file that VisA comes with"
        ) from error


def _visa_record(folder: Path, row: dict[str, str | None]) -> Record:
    split, label = row["split"], row["label"]
    if split not in SPLITS:
        raise DatasetError(f"split is {split!r}", hint='write "train" or "test"')
    if label not in ("normal", "anomaly"):
        raise DatasetError(f"label is {label!r}", hint='write "normal" or "anomaly"')
    image = _visa_file(folder, row["image"], "image")
    if label == "normal":
        return Record(image, GOOD, split)
    return Record(image, label, split, _visa_file(folder, row["mask"], "mask"))


def _visa_file(folder: Path, name: str | None, what: str) -> Path:
    path = path_inside(folder, (name or "").removeprefix(f"{folder.name}/"), what)
    if not path.is_file():
        raise DatasetError(f"{path} does not exist", hint=_AGAIN)
    return path


_READERS: dict[str, Callable[[Path], dict[str, Dataset]]] = {
    "mvtec": _read_mvtec,
    "visa": _read_visa,
    "dagm": _read_dagm,
    "mpdd": _read_mvtec,
}
