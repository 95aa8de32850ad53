"""Saved models: a folder with weights.safetensors and card.json; nothing in it can run code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from blemish.errors import ArtifactError
from blemish.runtime import file_sha256, write_json

SCHEMA = 1
WEIGHTS = "weights.safetensors"
CARD = "card.json"


def save_artifact(folder: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a model folder: all of it appears under its name at once, replacing an older one.

    Raises:
        ArtifactError: the folder exists and is not a saved model.
    """
    if folder.exists() and not (folder / CARD).is_file():
        raise ArtifactError(
            f"{folder} exists and is not a saved model", hint="choose another folder, or remove it"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, fresh / WEIGHTS)
        facts = {"schema": SCHEMA, "weights_sha256": file_sha256(fresh / WEIGHTS), **card}
        write_json(fresh / CARD, facts)
        fresh.chmod(0o755)
        if folder.exists():
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old."))
            os.rename(folder, old / folder.name)
            os.rename(fresh, folder)
            shutil.rmtree(old)
        else:
            os.rename(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def load_artifact(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the card of a saved model, checked against each other.

    Raises:
        ArtifactError: the folder is no model, is damaged, or was written by a newer version.
    """
    card = read_card(folder)
    weights = folder / WEIGHTS
    if not weights.is_file() or file_sha256(weights) != card.get("weights_sha256"):
        raise ArtifactError(
            f"{weights} is missing or is not the file that {CARD} was written for",
            hint="copy the whole folder again, or train again",
        )
    try:
        return load_file(weights), card
    except SafetensorError as error:
        raise ArtifactError(f"{weights} cannot be read: {error}") from error


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
            hint="give the folder that `blemish train` wrote",
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
