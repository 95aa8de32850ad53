"""Generated pairs to a dataset folder: exact counts, and the same files however often it was killed."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from blemish.data import natural_key, read_image, read_sample, write_sample
from blemish.data.layouts import MANIFEST
from blemish.data.pictures import captioned, contact_sheet, outlined
from blemish.errors import DatasetError
from blemish.generation.crops import Window, window_around
from blemish.generation.manifest import Entry, Manifest, Run, append_entry, files_of, read_manifest
from blemish.generation.quality import Verdict
from blemish.generation.workers import produced
from blemish.records import GOOD, Record
from blemish.runtime import LOCK, alone, atomic_write, file_sha256
from blemish.synthesis.arrays import Image, Mask

_SHOWN = 192


class Crew(NamedTuple):
    """Processes that share one folder. wait: returns when all of them have come to it."""

    rank: int
    size: int
    wait: Callable[[], None]


ALONE = Crew(0, 1, lambda: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One generated pair in memory.

    image: uint8 RGB (H, W, 3); mask: bool (H, W), what was really painted. source: the good photo's
    file. parameters: ready for JSON.
    """

    image: Image
    mask: Mask
    source: Path
    verdict: Verdict
    parameters: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 1
    refused: tuple[tuple[str, ...], ...] = ()


def write_pairs(
    root: Path,
    counts: Mapping[str, int],
    make: Callable[[str, int], Made],
    run: Run,
    report: Callable[[Entry], None] | None = None,
    crew: Crew = ALONE,
    processes: int = 1,
    good: Sequence[Record] = (),
) -> tuple[Entry, ...]:
    """Return the entries of a folder with exactly `counts[type]` generated pairs of each type.

    Photos: test/<type>/<index>.png, masks: ground_truth/<type>/<index>_mask.png, so that no reader of
    the MVTec layout takes a defect for a good photo. The manifest beside them marks them as synthetic
    and as training data. What an earlier, killed run has finished is kept; as `make(type, index)`
    depends on nothing else, the result is the one of a run that was never killed, and of one process,
    however many share the work. A pair that someone deleted is made again. report: called with each
    new entry; crew: those that write the folder together; processes: that make the share of this one.
    good: photos that make the folder a whole dataset, see `include_good`.

    Raises:
        DatasetError: the folder holds pairs of another run, or more pairs than asked for.
        ArtifactError: another program is writing there.
    """
    with alone(root) if crew.rank == 0 else nullcontext():
        if crew.rank == 0:
            _prepare(root, counts, run)
        crew.wait()
        entries = read_manifest(root).entries
        asked = [(label, i) for label in sorted(counts, key=natural_key) for i in range(counts[label])]
        mine = [key for key in asked[crew.rank :: crew.size] if key not in entries]
        for (label, index), made in produced(make, mine, processes):
            entry = _write(root, label, index, made, run)
            append_entry(root, entry)
            if report is not None:
                report(entry)
        crew.wait()
        known = read_manifest(root)
        if crew.rank == 0:
            known.write(root)
            if good:
                include_good(root, good)
        crew.wait()
    return tuple(known.entries[key] for key in asked)


def _prepare(root: Path, counts: Mapping[str, int], run: Run) -> None:
    """Leave in the folder what this run may build on: whole pairs of its own, and nothing half done."""
    known = read_manifest(root)
    _refuse_others(root, known, counts, run)
    entries = {key: entry for key, entry in known.entries.items() if entry.intact(root)}
    root.mkdir(parents=True, exist_ok=True)
    for pattern in (".*.png.*.tmp", f".{MANIFEST}.*.tmp"):
        for unfinished in root.rglob(pattern):
            unfinished.unlink()
    Manifest(entries, known.others).write(root)


def include_good(root: Path, records: Sequence[Record]) -> None:
    """Copy good photos to train/good/ and into the manifest: the folder is then a whole dataset.

    The photos are copied byte for byte and numbered in the order given. Repeating it changes nothing.

    Raises:
        DatasetError: a record is a defect, or not of the training split.
    """
    wrong = next((record for record in records if not record.is_good or record.split != "train"), None)
    if wrong is not None:
        raise DatasetError(
            f"{wrong.image} is {wrong.label} of the {wrong.split} split: expected good photos of train",
            hint="pass dataset.train",
        )
    lines = []
    for index, record in enumerate(records):
        name = f"train/{GOOD}/{index:06d}{record.image.suffix.lower()}"
        copy = root / name
        if not (copy.is_file() and filecmp.cmp(copy, record.image, shallow=False)):
            with atomic_write(copy) as file:
                file.write(record.image.read_bytes())
        lines.append(f'{{"image": "{name}", "label": "{GOOD}", "split": "train"}}')
    known = read_manifest(root)
    Manifest(known.entries, tuple(dict.fromkeys((*lines, *known.others)))).write(root)


def comparison(
    root: Path,
    entries: Sequence[Entry],
    real: Sequence[tuple[Image, Mask]],
    shown: int = 12,
    *,
    scores: bool = True,
) -> Image:
    """Return a sheet of rows: a real defect, a generated one, its mask and scores, the photo before.

    Each is a square around the defect. At most `shown` pairs, spread evenly; the real ones repeat when
    there are fewer. Left out are the real ones where there are none, and a photo before that is gone.
    scores: whether the gate's figures are shown; why it refused a pair always is.

    Raises:
        ImageError: a pair cannot be read, or there is none.
    """

    def beside(row: int) -> Sequence[tuple[Image, Mask]]:
        return [real[row % len(real)]] if real else []

    rows = []
    for row, place in enumerate(np.linspace(0, len(entries) - 1, min(len(entries), shown)).round()):
        entry = entries[int(place)]
        sample = read_sample(entry.record(root))
        assert sample.mask is not None  # noqa: S101 - every entry has one
        window = window_around(sample.mask, _SHOWN)
        known = entry.scores.items() if scores else ()
        figures = [f"{name} {value:.2f}" for name, value in known if value is not None]
        said = [*figures, *entry.reasons]
        try:
            before = [window.cut(read_image(entry.good_photo(root)))]
        except DatasetError:  # gone, or no longer the one that was painted on
            before = []
        drawn = [_outlined(window_around(mask, _SHOWN), photo, mask) for photo, mask in beside(row)]
        drawn.append(window.cut(sample.image))
        # As much room below all of a row, so that they stand side by side.
        room = [""] * len(said)
        rows.append(
            [
                *(captioned(picture, room) for picture in drawn),
                captioned(_outlined(window, sample.image, sample.mask), said),
                *(captioned(picture, room) for picture in before),
            ]
        )
    titles = [*(["real"] if real else []), "generated", "mask", "before"]
    return contact_sheet(rows, titles[: max(map(len, rows), default=0)])


def _outlined(window: Window, photo: Image, mask: Mask) -> Image:
    return outlined(window.cut(photo), window.cut_mask(mask))


def _write(root: Path, label: str, index: int, made: Made, run: Run) -> Entry:
    record = write_sample(root, label, f"{index:06d}", made.image, made.mask, synthetic=True)
    return Entry(
        **files_of(root, record),
        label=label,
        index=index,
        run=run,
        source=made.source.as_posix(),
        source_sha256=file_sha256(made.source),
        parameters=made.parameters,
        scores=made.verdict.scores.summary(),
        accepted=made.verdict.accepted,
        reasons=made.verdict.reasons,
        attempts=made.attempts,
        refused=made.refused,
    )


def _refuse_others(root: Path, known: Manifest, counts: Mapping[str, int], run: Run) -> None:
    something = root.is_dir() and any(path.name != LOCK for path in root.iterdir())
    if something and not (root / MANIFEST).is_file():
        raise DatasetError(
            f"{root} is not empty and holds no {MANIFEST}",
            hint="choose a new folder for generated pairs",
        )
    for (label, index), entry in known.entries.items():
        if entry.run != run:
            raise DatasetError(
                f"{root} holds pairs of another run: {entry.image} has {entry.run}, this run is {run}",
                hint="choose another folder, or the same model, settings and seed",
            )
        if index >= counts.get(label, index + 1):
            raise DatasetError(
                f"{root} holds {entry.image}, but only {counts[label]} of {label} are asked for",
                hint="ask for as many as there are, or choose another folder",
            )
