"""The whole state of a run in one safetensors file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from blemish.errors import ArtifactError
from blemish.runtime import atomic_write, write_json
from blemish.training.plan import State

CHECKPOINT = "checkpoint.safetensors"
PROGRESS = "progress.json"
SNAPSHOTS = "snapshots"


def write_checkpoint(folder: Path, rooms: Mapping[str, Mapping[str, Tensor]], state: State) -> None:
    """Write named groups of tensors and the state, atomically; the state also as readable JSON."""
    tensors = {
        f"{room}.{name}": value.detach().cpu().contiguous().clone()
        for room, values in rooms.items()
        for name, value in values.items()
    }
    facts = {**asdict(state), "best": finite(state.best)}
    data = to_bytes(tensors, metadata={"state": json.dumps(facts)})
    with atomic_write(folder / CHECKPOINT) as file:
        file.write(data)
    write_json(folder / PROGRESS, facts)


def read_checkpoint(folder: Path) -> tuple[dict[str, dict[str, Tensor]], State]:
    """Return the named groups of tensors and the state of the last checkpoint.

    Raises:
        ArtifactError: the file is damaged or is no checkpoint.
    """
    path = folder / CHECKPOINT
    rooms: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["state"])
            for key in file.keys():  # noqa: SIM118 - not a mapping
                room, name = key.split(".", 1)
                rooms.setdefault(room, {})[name] = file.get_tensor(key)
        best = -math.inf if facts["best"] is None else facts["best"]
        return rooms, State(**{**facts, "best": best})
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} cannot be read: it is damaged, or no checkpoint of blemish",
            hint="restore it from a backup, or start again in another folder",
        ) from error


def write_snapshot(folder: Path, iteration: int, weights: Mapping[str, Tensor]) -> None:
    """Write the averaged weights of an iteration beside the run's state, atomically."""
    data = to_bytes({name: value.detach().cpu().contiguous() for name, value in weights.items()})
    with atomic_write(folder / SNAPSHOTS / f"{iteration:07d}.safetensors") as file:
        file.write(data)


def read_snapshots(folder: Path) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield the iteration of each validation whose weights were kept, in order, and these weights."""
    for path in sorted((folder / SNAPSHOTS).glob("*.safetensors")):
        yield int(path.stem), load_file(path)


def finite(value: float) -> float | None:
    """Return the value where JSON can hold it, else None."""
    return value if math.isfinite(value) else None
