"""Many small experiments in one folder: none is run twice, and a killed grid goes on where it was."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

import torch

from blemish.errors import ArtifactError, ConfigError
from blemish.records import Record
from blemish.runtime import end_with_parent, file_sha256, logger, write_json
from blemish.training import CHECKPOINT, SNAPSHOTS
from blemish.version import __version__

RESULT, IDENTITY = "result.json", "identity.json"
_VERSIONS = {"blemish": __version__, "torch": torch.__version__}

Identity = dict[str, Any]
Result = dict[str, Any]


class Cell(Protocol):
    """One experiment of a grid. With several devices it travels to another process by pickle."""

    @property
    def name(self) -> str:
        """Its folder in the grid, for example `generated/seed0`."""

    def identity(self) -> Mapping[str, Any]:
        """Return all that decides its result, ready for JSON: settings, seed, hashes of the data."""

    def __call__(self, folder: Path, device: str) -> Mapping[str, Any]:
        """Return the result, ready for JSON. `folder` is its own; a killed run finds it as it was."""


def run_grid(cells: Sequence[Cell], root: Path, devices: Sequence[str] = ("auto",)) -> list[Result]:
    """Return the results of all cells, in order; only those without one are run.

    A result is written when its cell has ended, with the cell's identity in it; its checkpoints and
    snapshots are then deleted. Until then the identity lies in a file of its own: what a killed cell
    has left is not another one's to go on with. devices: a process each works on the cells that are
    left; one device is used by this process.

    Raises:
        ArtifactError: a folder holds the result of another cell, or what one has begun.
        ConfigError: two cells share a name, or there is no device.
    """
    names = [cell.name for cell in cells]
    if len(set(names)) < len(names) or not devices:
        raise ConfigError(
            "the cells of a grid need names of their own, and a device to run on",
            hint="name each cell by what tells it from the others",
        )
    places = [root / cell.name / RESULT for cell in cells]
    identities = [json.loads(json.dumps(cell.identity())) for cell in cells]
    left: list[tuple[Cell, Identity]] = []
    for cell, identity, place in zip(cells, identities, places, strict=True):
        if place.is_file():
            _result(place, identity)
            continue
        begun = place.with_name(IDENTITY)
        if begun.is_file():
            _refuse_other(json.loads(begun.read_text(encoding="utf-8")), identity, begun.parent)
        left.append((cell, identity))
    if len(left) < len(cells):
        logger.info("%d of %d cells are done already", len(cells) - len(left), len(cells))
    if len(devices) == 1:
        for number, (cell, identity) in enumerate(left, 1):
            logger.info("cell %d of %d: %s", number, len(left), cell.name)
            _run(cell, identity, root, devices[0])
    else:
        for number, cell in enumerate(_shared(left, root, devices), 1):
            logger.info("cell %d of %d is done: %s", number, len(left), cell.name)
    return [_result(place, identity) for place, identity in zip(places, identities, strict=True)]


def other_versions(cells: Sequence[Cell], root: Path) -> list[str]:
    """Return a note for a reader where finished cells were made by other versions than these."""
    made: dict[str, int] = {}
    for cell in cells:
        versions = json.loads((root / cell.name / RESULT).read_text(encoding="utf-8")).get("made_by")
        if versions != _VERSIONS:
            known = versions or {"blemish": "not noted"}
            words = ", ".join(f"{name} {version}" for name, version in known.items())
            made[words] = made.get(words, 0) + 1
    now = ", ".join(f"{name} {version}" for name, version in _VERSIONS.items())
    return [
        f"{count} of {len(cells)} results were made by another version ({words}) than the one that "
        f"reads them ({now}): delete their folders to make them again."
        for words, count in made.items()
    ]


def fingerprint(cells: Sequence[Cell], root: Path) -> str:
    """Return a SHA-256 over the identities of finished cells, the same for the same experiment."""
    paths = [root / cell.name / RESULT for cell in cells]
    found = [json.loads(path.read_text(encoding="utf-8"))["identity"] for path in paths]
    return f"SHA-256 {hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()}"


def all_devices() -> tuple[str, ...]:
    """Return every graphics card of this machine, or `auto` where there is at most one."""
    count = torch.cuda.device_count()
    return tuple(f"cuda:{number}" for number in range(count)) if count > 1 else ("auto",)


def content_digest(records: Sequence[Record]) -> str:
    """Return the SHA-256 over photos, masks and labels, in order."""
    facts = [[r.label, r.split, file_sha256(r.image), r.mask and file_sha256(r.mask)] for r in records]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _shared(
    cells: Sequence[tuple[Cell, Identity]], root: Path, devices: Sequence[str]
) -> Iterator[Cell]:
    """Yield cells as they end; each device has one at a time."""
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    begin = os.getpid(), max(1, torch.get_num_threads() // len(devices))
    with ProcessPoolExecutor(len(devices), context, _begin, begin) as pool:
        waiting, free = list(cells), list(devices)
        running: dict[Future[None], tuple[Cell, str]] = {}
        while waiting or running:
            while waiting and free:
                (cell, identity), device = waiting.pop(0), free.pop(0)
                running[pool.submit(_run, cell, identity, root, device)] = (cell, device)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell, device = running.pop(future)
                future.result()
                free.append(device)
                yield cell


def _begin(parent: int, threads: int) -> None:
    """Make a worker end with its parent and keep to its share of the cores, which all are in use."""
    end_with_parent(parent)
    torch.set_num_threads(threads)


def _run(cell: Cell, identity: Identity, root: Path, device: str) -> None:
    folder = root / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / IDENTITY, identity)
    result = dict(cell(folder, device))
    write_json(folder / RESULT, {"identity": identity, "result": result, "made_by": _VERSIONS})
    (folder / IDENTITY).unlink()
    for checkpoint in folder.rglob(CHECKPOINT):  # hundreds of megabytes that nothing needs any more
        checkpoint.unlink()
    for snapshots in [*folder.rglob(SNAPSHOTS)]:  # here, too, for a cell killed before its result
        shutil.rmtree(snapshots)


def _result(path: Path, identity: Identity) -> Result:
    """Return the result in a file, which has to be that of the cell of this identity."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known, result = found["identity"], found["result"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} is damaged: {error}", hint="delete it to run the cell again"
        ) from error
    _refuse_other(known, identity, path.parent)
    return dict(result)


def _refuse_other(known: Identity, identity: Identity, folder: Path) -> None:
    """Stop at what another experiment has left.

    Raises:
        ArtifactError: the identities differ.
    """
    if known != identity:
        raise ArtifactError(
            f"{folder} is of another experiment: its settings or data differ",
            hint="choose another folder, or delete this one",
        )
