"""Saved models: a folder with weights.safetensors and card.json; nothing in it can run code.

At every moment, also while a model is being replaced and after a kill in between, a folder with a card
is a whole model: the card names its weights by their SHA-256, and they are in one of two files.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blemish.errors import ArtifactError
from blemish.runtime import atomic_write, write_json

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
WEIGHTS = "weights.safetensors"
CARD = "card.json"
_COMING = "weights-{}.safetensors"  # new weights, until they take the place of the old ones


def save_artifact(folder: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a model folder: all of it appears under its name at once, replacing an older one.

    Raises:
        ArtifactError: the folder exists and is not a saved model.
    """
    if folder.exists() and not (folder / CARD).is_file():
        raise ArtifactError(
            f"{folder} exists and is not a saved model", hint="choose another folder, or remove it"
        )
    from safetensors.torch import save  # here: an exported model's card is read without PyTorch

    weights = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})
    stamp = {"schema": SCHEMA, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    write = _replace if folder.exists() else _create
    write(folder, weights, {**stamp, **card, **stamp})  # also where the card is of a loaded model


def _create(folder: Path, weights: bytes, card: Mapping[str, Any]) -> None:
    """Write both files into a folder that then takes its name."""

    def fill(fresh: Path) -> None:
        _write(fresh / WEIGHTS, weights)
        write_json(fresh / CARD, card)

    create_folder(folder, fill)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write the card of a model whose files are not tensors of ours."""
    write_json(folder / CARD, {"schema": SCHEMA, **card})


def refuse_existing(folder: Path) -> None:
    """Return where there is nothing of this name.

    Raises:
        ArtifactError: there is.
    """
    if folder.exists():
        raise ArtifactError(f"{folder} exists", hint="choose another folder, or remove it")


def create_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder that appears under its name only when `fill`, given an empty one, has filled it.

    Raises:
        ArtifactError: there is one of this name.
    """
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp"))
    try:
        fill(fresh)
        fresh.chmod(0o755)
        os.rename(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _replace(folder: Path, weights: bytes, card: Mapping[str, Any]) -> None:
    """Write the weights beside the old ones, then the card that names them, then tidy.

    The model changes with the card, a single rename. A folder cannot be exchanged for another in one
    step on every system.
    """
    coming = folder / _COMING.format(card["weights_sha256"])
    _write(coming, weights)
    write_json(folder / CARD, card)
    os.replace(coming, folder / WEIGHTS)
    for leftover in [*folder.glob(_COMING.format("*")), *folder.glob(".*.tmp")]:
        leftover.unlink()


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)


def load_artifact(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the card of a saved model, checked against each other.

    Raises:
        ArtifactError: the folder is no model, is damaged, or was written by a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = read_card(folder)
    while (weights := _weights_of(folder, card)) is None:
        newest = read_card(folder)
        if newest == card:
            raise ArtifactError(
                f"{folder / WEIGHTS} is missing or is not the file that {CARD} was written for",
                hint="copy the whole folder again, or train again",
            )
        card = newest  # the model was replaced between the two files: read the new one
    try:
        return load(weights), card
    except SafetensorError as error:
        raise ArtifactError(f"{folder / WEIGHTS} cannot be read: {error}") from error


def load_kind(
    folder: Path, kind: str, article: str, hint: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `load_artifact` does, of a model of one kind.

    kind: as its card says; article: of that word; hint: which folder to give.

    Raises:
        ArtifactError: the folder is no such model, is damaged, or was written by a newer version.
    """
    tensors, card = load_artifact(folder)
    check_kind(folder, card, kind, article, hint)
    return tensors, card


def check_kind(folder: Path, card: Mapping[str, Any], kind: str, article: str, hint: str) -> None:
    """Return where a folder's card is of this kind; arguments as in `load_kind`.

    Raises:
        ArtifactError: it is not.
    """
    if card.get("kind") != kind:
        raise ArtifactError(
            f"{folder} holds a {card.get('kind')}, expected {article} {kind}", hint=hint
        )


def part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors below a name, without it: `network.weight` as `weight`."""
    start = f"{name}."
    return {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}


def _weights_of(folder: Path, card: Mapping[str, Any]) -> bytes | None:
    """Return the weights that a card was written for; None where there are only others."""
    digest = card.get("weights_sha256")
    # In this order: weights leave the first place for the second.
    for name in (_COMING.format(digest), WEIGHTS):
        try:
            weights = (folder / name).read_bytes()
        except (OSError, ValueError):  # ValueError: a digest that is no file name
            continue
        if hashlib.sha256(weights).hexdigest() == digest:
            return weights
    return None


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of a saved model.

    Raises:
        ArtifactError: there is no card, or it is from a newer version.
    """
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder} is not a saved model: {CARD} cannot be read",
            hint="give the folder with a card: RUN/detector of `train`, RUN/generator of `learn`",
        ) from error
    schema = card.get("schema") if isinstance(card, dict) else None
    if not isinstance(schema, int):
        raise ArtifactError(f"{path} has no schema number: it is not a card of blemish")
    if schema > SCHEMA:
        raise ArtifactError(
            f"{path} has schema {schema}, this version reads up to {SCHEMA}",
            hint="pip install --upgrade blemish",
        )
    return dict(card)
