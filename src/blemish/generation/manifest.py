"""What is known about each generated pair, one JSON line each, beside the pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from blemish.data.layouts import MANIFEST
from blemish.data.listing import natural_key, path_inside
from blemish.errors import DatasetError
from blemish.records import GOOD, Record
from blemish.runtime import atomic_write, file_sha256

logger = logging.getLogger("blemish.generation")


@dataclass(frozen=True, slots=True)
class Run:
    """What decides every pair of a run, beside type and index. model, settings, goods: SHA-256 in hex.

    goods: of the good photos, of which each pair takes one.
    """

    seed: int
    model: str
    settings: str = ""
    goods: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One generated pair: where it lies, what it was made of, and how good it is.

    image, mask: relative to the folder. index: within its type; the pair is a pure function of
    (run, label, index). source: the good photo that was painted on. parameters: how the mask was made
    and placed, and of which real defects: `exemplars`, the SHA-256 of their photos. scores, accepted,
    reasons: of the gate. reviewed: a person has decided, and `accepted` is their word. attempts: pairs
    that were tried for this index; refused: why those were not taken that did not pass, this one
    among them where none did.
    """

    image: str
    mask: str
    label: str
    index: int
    run: Run
    source: str
    image_sha256: str
    mask_sha256: str
    source_sha256: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    accepted: bool = True
    reasons: tuple[str, ...] = ()
    reviewed: bool = False
    attempts: int = 1
    refused: tuple[tuple[str, ...], ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """Type and index."""
        return self.label, self.index

    def line(self) -> str:
        """Return the entry as JSON on one line; it is synthetic, and may be learnt from."""
        facts = {"split": "train", "synthetic": True}
        return json.dumps(asdict(self) | facts, ensure_ascii=False, allow_nan=False)

    def record(self, root: Path) -> Record:
        """Return where the pair lies, as readers will find it."""
        image, mask = root / self.image, root / self.mask
        made_of = tuple(self.parameters.get("exemplars", ()))
        return Record(image, self.label, "train", mask, True, self.source_sha256, made_of)

    def good_photo(self, root: Path | None = None) -> Path:
        """Return the good photo that was painted on, or its copy in the folder of the pairs.

        Raises:
            DatasetError: neither is there as it was.
        """
        copies = sorted((root / "train" / GOOD).glob("*")) if root is not None else []
        for file in (Path(self.source), *copies):
            if file.is_file() and file_sha256(file) == self.source_sha256:
                return file
        raise DatasetError(
            f"{self.source}, on which {self.image} was painted, is gone or has changed",
            hint="restore the good photo",
        )

    def intact(self, root: Path) -> bool:
        """Return whether both files are there and are what was written."""
        files = ((self.image, self.image_sha256), (self.mask, self.mask_sha256))
        return all(
            (root / name).is_file() and file_sha256(root / name) == sha256 for name, sha256 in files
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The lines of a folder's manifest: generated pairs, and others as they stand."""

    entries: dict[tuple[str, int], Entry]
    others: tuple[str, ...] = ()

    def write(self, root: Path) -> None:
        """Write the whole manifest atomically: the others first, then the pairs by type and index."""
        order = sorted(self.entries, key=lambda key: (natural_key(key[0]), key[1]))
        with atomic_write(root / MANIFEST, "w") as file:
            for line in (*self.others, *(self.entries[key].line() for key in order)):
                file.write(line + "\n")


def read_manifest(root: Path) -> Manifest:
    """Return the manifest of a folder of generated pairs; an empty one where there is none.

    A last line that was cut short is what a killed run leaves: it is dropped.

    Raises:
        DatasetError: a line is not JSON, misses a fact, or leads out of the folder.
    """
    path = root / MANIFEST
    entries: dict[tuple[str, int], Entry] = {}
    others: list[str] = []
    for number, line in enumerate(whole_lines(path), 1):
        try:
            facts = json.loads(line)
            if facts.get("synthetic") and "index" in facts:
                entry = _entry(root, facts)
                entries[entry.key] = entry
            else:
                others.append(line)
        except (ValueError, TypeError, KeyError, AttributeError, DatasetError) as error:
            raise DatasetError(
                f"{path} line {number} is not what was written there ({error})",
                hint="delete the line: the pair will be made again",
            ) from error
    return Manifest(entries, tuple(others))


def whole_lines(path: Path) -> list[str]:
    """Return the lines of a manifest; none where there is no file.

    A last line that was cut short is what a killed run leaves: it is dropped. A whole one counts, also
    where an editor left out the end of the line.
    """
    if not path.is_file():
        return []
    *lines, rest = path.read_text(encoding="utf-8").split("\n")
    try:
        if rest and isinstance(json.loads(rest), dict):
            return [*lines, rest]
    except ValueError:
        logger.debug("%s ends in the middle of a line, which is dropped", path)
    return lines


def files_of(root: Path, record: Record) -> dict[str, Any]:
    """Return what a line tells of a pair's files: where below the folder they lie, their SHA-256."""
    assert record.mask is not None  # noqa: S101 - a defect was written with its mask
    files = {"image": record.image, "mask": record.mask}
    places = {what: file.relative_to(root).as_posix() for what, file in files.items()}
    return places | {f"{what}_sha256": file_sha256(file) for what, file in files.items()}


def append_entry(root: Path, entry: Entry) -> None:
    """Add a pair to the folder's manifest; a killed run leaves at most its last line unfinished."""
    with (root / MANIFEST).open("a", encoding="utf-8") as file:
        file.write(entry.line() + "\n")
        file.flush()


def _entry(root: Path, facts: dict[str, Any]) -> Entry:
    for what in ("image", "mask"):
        path_inside(root, facts[what], what)
    known = {one.name: facts[one.name] for one in fields(Entry) if one.name in facts}
    known["run"] = Run(**facts["run"])
    known["reasons"] = tuple(facts.get("reasons", ()))
    known["refused"] = tuple(map(tuple, facts.get("refused", ())))
    entry = Entry(**known)
    texts = (entry.label, entry.source, entry.image_sha256, entry.mask_sha256)
    if not all(isinstance(text, str) for text in texts) or not isinstance(entry.index, int):
        raise DatasetError("label, source and hashes are text, index is a whole number")
    return entry
