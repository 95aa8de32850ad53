"""Everything that is wrong with a dataset, found by opening every file once."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from blemish.data.images import deep_peak, read_image, read_mask
from blemish.data.listing import Problem, Severity, natural_key
from blemish.data.readers import AnyLayout, Layout, detect_layout, no_photos, scan
from blemish.errors import BlemishError, DatasetError, ImageError

if TYPE_CHECKING:
    from blemish.data.pairing import Masks
    from blemish.records import Record

FEWEST_GOOD = 10
ENOUGH_GOOD = 76
"""A quarter of so many, as is held out, keeps the default rate of false alarms."""
NARROWEST = 32
LONGEST_ASPECT = 8

_THUMBNAIL = 32
# Measured on the good train photos of three products, as RMS over 32 x 32 cells: 95 of 100 photos
# saved again as JPEG 60 stay below 0.7 grey levels and 0.07 of their contrast; the closest two
# different photos are 1.3 levels apart. Small photos saved at half size reach 1.2 and may be missed.
_NEAR_LEVELS = 1.0
_NEAR_CONTRAST = 0.1
_BLOCK = 1024
_DARK, _DARK_SHARE = 1 / 8, 0.95
_WIDE_MASK = 0.6
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found.

    counts: readable photos by split, then label. sizes: how many of them have each (height, width),
    the most frequent first.
    """

    root: Path
    layout: str | None
    problems: tuple[Problem, ...]
    counts: dict[str, dict[str, int]]
    sizes: dict[tuple[int, int], int]

    @property
    def ok(self) -> bool:
        """Whether the dataset can be used as it is; warnings do not count."""
        return not any(problem.severity == "error" for problem in self.problems)

    def summary(self) -> dict[str, Any]:
        """Return the report as plain values, ready for JSON."""
        return {
            "root": str(self.root),
            "ok": self.ok,
            "layout": self.layout,
            "counts": self.counts,
            "sizes": {f"{width}x{height}": n for (height, width), n in self.sizes.items()},
            "problems": [
                {"severity": p.severity, "file": str(p.file), "what": p.what, "fix": p.fix}
                for p in self.problems
            ],
        }


@dataclass(frozen=True, slots=True)
class _Look:
    """What is kept of a photo once it is closed. thumbnail: float32, mean 0; pixels: SHA-256."""

    record: Record
    shape: tuple[int, int]
    pixels: str
    thumbnail: npt.NDArray[np.float32]


def check(path: Path, layout: AnyLayout = "auto", masks: Masks = "auto") -> Report:
    """Return every problem of a dataset, each with its fix; no file makes it stop.

    Errors: files that cannot be read, masks that are missing, without photo, empty or of another
    size, the same pixels in train and test, fewer than 10 good train photos. Warnings: near copies
    across train and test, copies among the good train photos, too few of these for the usual promise,
    undrawn masks, masks that cover most of their photo, photos that are tiny, very long or of one
    colour, deep grey ones that use little of their range, files that are left out.
    """
    path = Path(path)
    try:
        known = detect_layout(path) if layout == "auto" else layout
        found = scan(path, known, masks)
        if not found.records and not found.blocking:
            raise no_photos(path, known)
    except DatasetError as error:
        return Report(path, None, (_problem(path, error),), {}, {})
    problems = [*found.blocking, *found.stray]
    looks: list[_Look] = []
    peaks: list[float] = []
    for record in found.records:
        try:
            image = read_image(record.image)
        except ImageError as error:
            problems.append(_problem(record.image, error))
            continue
        looks.append(_look(record, image))
        peak = deep_peak(record.image)
        peaks += [peak] if peak else []
        problems += _photo_problems(record, image)
        problems += _mask_problems(record, (image.shape[0], image.shape[1]))
    problems += _dark(path, peaks)
    problems += _copies(looks)
    problems += _repeated(path, looks)
    problems += _too_few(path, [look.record for look in looks])
    if masks == "auto":
        problems += _undrawn(path, known, found.records)
    return Report(
        path,
        known,
        tuple(sorted(problems, key=lambda problem: problem.severity)),
        _counts(look.record for look in looks),
        dict(Counter(look.shape for look in looks).most_common()),
    )


def _problem(file: Path, error: BlemishError) -> Problem:
    return Problem("error", file, str(error.args[0]), error.hint or "remove the file")


def _look(record: Record, image: npt.NDArray[np.uint8]) -> _Look:
    shape = (image.shape[0], image.shape[1])
    pixels = hashlib.sha256(repr(shape).encode() + image.tobytes()).hexdigest()
    grey = Image.fromarray(image).convert("L")
    small = grey.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    thumbnail = np.asarray(small, np.float32).ravel()
    return _Look(record, shape, pixels, thumbnail - thumbnail.mean())


def _photo_problems(record: Record, image: npt.NDArray[np.uint8]) -> Iterator[Problem]:
    height, width = image.shape[:2]
    size = f"{record.image} is {width}x{height}"
    if min(height, width) < NARROWEST:
        fix = "leave it out: there is too little to see"
        yield Problem("warning", record.image, f"{size}: under {NARROWEST} pixels", fix)
    if max(height, width) > LONGEST_ASPECT * min(height, width):
        what = f"{size}: over {LONGEST_ASPECT} times as long as wide"
        yield Problem("warning", record.image, what, "cut it up, or keep data.framing from letterbox")
    if image.min() == image.max():
        what = f"{record.image} is of one colour"
        yield Problem("warning", record.image, what, "check the camera, or remove it")


def _dark(root: Path, peaks: list[float]) -> Iterator[Problem]:
    """Yield that deep grey photos use little of their range, such as 12 bits of 16."""
    low = [peak for peak in peaks if peak < _DARK]
    if low and len(low) >= _DARK_SHARE * len(peaks):
        factor = 2 ** int(np.log2(1 / max(low)))
        what = f"{len(low)} of {len(peaks)} deep grey photos use less than an eighth of their range: "
        fix = f"multiply the values of all photos, also of those to inspect, by {factor} and save again"
        yield Problem("warning", root, f"{what}they are read nearly black", fix)


def _mask_problems(record: Record, shape: tuple[int, int]) -> Iterator[Problem]:
    if record.mask is None:
        return
    try:
        mask = read_mask(record.mask, shape)
    except ImageError as error:
        yield _problem(record.mask, error)
        return
    if not mask.any():
        fix = f"draw the defect, or move {record.image.name} to good/ and delete the mask"
        yield Problem("error", record.mask, f"{record.mask} is empty: it marks no defect", fix)
    elif (covered := float(mask.mean())) > _WIDE_MASK:
        share = "all" if covered == 1 else f"{covered:.0%}"
        what = (
            f"{record.mask} covers {share} of its photo: it may be inverted, or drawn in transparency"
        )
        fix = "save it without transparency, white where the defect is and black elsewhere"
        yield Problem("warning", record.mask, what, fix)


def _copies(looks: list[_Look]) -> Iterator[Problem]:
    """Yield each test photo that training would see as well."""
    train = [look for look in looks if look.record.split == "train"]
    test = [look for look in looks if look.record.split == "test"]
    same = {look.pixels: look.record.image for look in train}
    for look in test:
        if look.pixels in same:
            yield _copy("error", look.record.image, "has the same pixels as", same[look.pixels])
    fresh = [look for look in test if look.pixels not in same]
    for look, twin in _near(train, fresh):
        yield _copy("warning", look.record.image, "is nearly the same as", twin.record.image)


def _repeated(root: Path, looks: list[_Look]) -> Iterator[Problem]:
    """Yield, once, that good training photos have the same pixels."""
    first: dict[str, Path] = {}
    copies = []
    for look in looks:
        if look.record.split == "train" and look.record.is_good:
            original = first.setdefault(look.pixels, look.record.image)
            if original != look.record.image:
                copies.append(f"{look.record.image} of {original}")
    if copies:
        more = len(copies) - _NAMED
        named = ", ".join(copies[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        what = f"{len(copies)} good training photos are copies of others: {named}"
        yield Problem("warning", root, what, "delete the copies: they show no other piece")


def _copy(severity: Severity, photo: Path, how: str, twin: Path) -> Problem:
    fix = "delete one of the two: a photo that was learnt from says nothing in a test"
    return Problem(severity, photo, f"{photo} (test) {how} {twin} (train)", fix)


def _near(train: list[_Look], test: list[_Look]) -> Iterator[tuple[_Look, _Look]]:
    if not train:
        return
    known = np.stack([look.thumbnail for look in train])
    known_power = np.square(known).mean(axis=1)
    for start in range(0, len(test), _BLOCK):
        block = test[start : start + _BLOCK]
        seen = np.stack([look.thumbnail for look in block])
        power = np.square(seen).mean(axis=1)
        square = power[:, None] + known_power - 2 * seen @ known.T / known.shape[1]
        twins = square.argmin(axis=1)
        for row, twin in enumerate(twins):
            limit = min(_NEAR_LEVELS**2, _NEAR_CONTRAST**2 * power[row])
            if square[row, twin] < limit:
                yield block[row], train[twin]


def _too_few(root: Path, records: list[Record]) -> Iterator[Problem]:
    good = sum(record.is_good and record.split == "train" for record in records)
    if good < FEWEST_GOOD:
        what = f"{good} readable good photos to train on: expected at least {FEWEST_GOOD}"
        yield Problem("error", root, what, "take more photos of good pieces; 100 serve well")
    elif good < ENOUGH_GOOD:
        kept = good // 4
        what = (
            f"{good} good photos to train on: a quarter is held out, and {kept} cannot promise a "
            f"false-alarm rate of 5%, only {1 / (kept + 1):.0%}"
        )
        fix = f"take {ENOUGH_GOOD} or more, each of another piece, or train for a higher rate"
        yield Problem("warning", root, what, fix)


def _undrawn(root: Path, layout: Layout, records: tuple[Record, ...]) -> Iterator[Problem]:
    missing = Counter(r.label for r in records if not r.is_good and r.mask is None)
    drawn = {r.label for r in records if r.mask is not None}
    listed = layout == "manifest"
    # In folders a type with some masks is an error of pairing, and already reported photo by photo.
    for label in sorted(missing.keys() if listed else missing.keys() - drawn, key=natural_key):
        what = f"{missing[label]} photos of {label} have no mask: only image scores can be measured"
        fix = f"draw masks in ground_truth/{label}/, called <photo>_mask.png"
        if listed:
            fix = "draw masks, and write their paths as mask into the lines of their photos"
        yield Problem("warning", root, what, fix)


def _counts(records: Iterator[Record]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[record.split][record.label] += 1
    return {split: dict(labels) for split, labels in counts.items()}
