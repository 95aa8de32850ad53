"""What people decide about generated pairs, and what they paint by hand: in the manifest at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blemish.data import write_png, write_sample
from blemish.data.layouts import MANIFEST
from blemish.data.listing import path_inside
from blemish.errors import DatasetError
from blemish.generation.generator import Judged
from blemish.generation.manifest import files_of, whole_lines
from blemish.runtime import atomic_write, file_sha256
from blemish.synthesis.arrays import Mask

Lines = Sequence[Mapping[str, Any]]

_BY_HAND = "hand"


@dataclass(frozen=True, slots=True)
class Pair:
    """One generated pair as its manifest line tells it. id: stands for it, and says nothing of where.

    image, mask: files; facts: the whole line.
    """

    id: str
    image: Path
    mask: Path
    facts: Mapping[str, Any]

    @property
    def there(self) -> bool:
        """Whether both files are."""
        return self.image.is_file() and self.mask.is_file()

    @property
    def accepted(self) -> bool:
        """Whether it is learned from."""
        return bool(self.facts.get("accepted", True))

    @property
    def reviewed(self) -> bool:
        """Whether a person has decided."""
        return bool(self.facts.get("reviewed", False))

    @property
    def label(self) -> str:
        """The type of its defect."""
        return str(self.facts["label"])


class PairFolder:
    """A folder of generated pairs that people go through, one change at a time.

    Readers and `train` follow `accepted`; a run of `generate` that goes on in the folder leaves alone
    what is decided here. Two programs should not write into one folder at the same time.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        # Both at once: several threads may read.
        self._seen: tuple[tuple[int, int, int] | None, Lines] = None, ()

    def pairs(self) -> list[Pair]:
        """Return the pairs whose files are there, in the manifest's order.

        Raises:
            DatasetError: a line is not JSON, or leads out of the folder.
        """
        found = (self._pair(facts) for facts in self._read())
        return [pair for pair in found if pair and pair.there]

    def find(self, name: str) -> Pair:
        """Return a pair by its id.

        Raises:
            DatasetError: there is none.
        """
        for facts in self._read():
            if _name(facts) == name and (pair := self._pair(facts)) and pair.there:
                return pair
        raise DatasetError(f"there is no pair {name!r}", hint="it may be gone: list them again")

    def decide(self, name: str, *, accepted: bool) -> Pair:
        """Write down whether a pair is to be learned from, and return it.

        Raises:
            DatasetError: there is no such pair.
        """
        return self._changed(self.find(name), {"accepted": accepted})

    def correct(self, name: str, mask: Mask) -> Pair:
        """Give a pair another mask, bool (H, W) of its photo's size, and return it.

        Raises:
            DatasetError: there is no such pair.
        """
        pair = self.find(name)
        write_png(pair.mask, mask)
        return self._changed(pair, {"mask_sha256": file_sha256(pair.mask)})

    def keep(self, made: Judged, label: str, source: Path, facts: Mapping[str, Any]) -> Pair:
        """Write a painting as a pair to learn from, whatever the gate says of it, and return it.

        source: the good photo's file; facts: how it was painted, ready for JSON.
        """
        lines = self._read()
        taken = {Path(str(line.get("image"))).stem for line in lines if line.get("label") == label}
        number = next(n for n in range(len(taken) + 1) if f"{_BY_HAND}-{n:06d}" not in taken)
        stem = f"{_BY_HAND}-{number:06d}"
        self.root.mkdir(parents=True, exist_ok=True)
        record = write_sample(self.root, label, stem, *made.painting, synthetic=True)
        line = {
            **files_of(self.root, record),
            "label": label,
            "split": "train",
            "synthetic": True,
            "source": source.as_posix(),
            "source_sha256": file_sha256(source),
            "parameters": {**facts, "exemplars": list(made.exemplars)},
            "scores": made.verdict.scores.summary(),
            "accepted": True,
            "reviewed": True,
            "reasons": list(made.verdict.reasons),
        }
        self._write([*lines, line])
        pair = self._pair(line)
        assert pair is not None  # noqa: S101 - written above
        return pair

    def _changed(self, pair: Pair, change: Mapping[str, Any]) -> Pair:
        """Write one line anew and return its pair."""
        change = {**change, "reviewed": True}
        lines = self._read()
        self._write(
            [{**line, **change} if line.get("image") == pair.facts["image"] else line for line in lines]
        )
        return Pair(pair.id, pair.image, pair.mask, {**pair.facts, **change})

    def _pair(self, facts: Mapping[str, Any]) -> Pair | None:
        """Return the pair of a line, None where it is of something else."""
        if facts.get("synthetic") is not True or not isinstance(facts.get("mask"), str):
            return None
        image, mask = (path_inside(self.root, facts.get(what), what) for what in ("image", "mask"))
        return Pair(_name(facts), image, mask, facts)

    def _read(self) -> Lines:
        """Return the manifest's lines; they are parsed again when the file has changed."""
        path = self.root / MANIFEST
        told = path.stat() if path.is_file() else None
        look = told and (told.st_ino, told.st_size, told.st_mtime_ns)
        known, lines = self._seen
        if look != known:
            try:
                found = [json.loads(line) for line in whole_lines(path) if line.strip()]
            except ValueError as error:
                hint = "`blemish check` names the line"
                raise DatasetError(f"{path} is not JSON lines: {error}", hint=hint) from error
            lines = [line for line in found if isinstance(line, dict)]
            self._seen = look, lines
        return lines

    def _write(self, lines: Lines) -> None:
        with atomic_write(self.root / MANIFEST, "w") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def _name(facts: Mapping[str, Any]) -> str:
    """Return the id of a line's pair."""
    return hashlib.sha256(str(facts.get("image")).encode()).hexdigest()[:16]
