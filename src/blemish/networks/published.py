"""Weights that others have published and the package does not bring along: found, never fetched."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from blemish.errors import ArtifactError

SHELF = "BLEMISH_WEIGHTS"


class Published(NamedTuple):
    """A network's name, the file names that its weights go by, and where they can be had."""

    network: str
    names: tuple[str, ...]
    source: str


def find_weights(published: Published, given: Path | None = None) -> Path:
    """Return the file of a network's weights; nothing touches the internet.

    given: the file, or a folder that holds it. Without one it is looked for in the folder that the
    environment variable BLEMISH_WEIGHTS names, then where PyTorch keeps what it has downloaded.

    Raises:
        ArtifactError: it lies in none of these places.
    """
    shelf = os.environ.get(SHELF)
    known = [Path(shelf)] if shelf else []
    places = [*known, Path(torch.hub.get_dir(), "checkpoints")] if given is None else [Path(given)]
    for place in places:
        found = [place, *(place / name for name in published.names)]
        for file in found:
            if file.is_file():
                return file
    raise ArtifactError(
        f"the weights of {published.network} are not here: expected "
        f"{' or '.join(published.names)} in {' or '.join(map(str, places))}",
        hint=f"get the file from {published.source}, put it into a folder and let {SHELF} name that "
        "one; or give its path",
    )


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, or of one of PyTorch's; no code in it is run.

    Raises:
        ArtifactError: it cannot be read, or holds something else.
    """
    try:
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except (
        OSError,
        EOFError,
        RuntimeError,
        TypeError,
        ValueError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        raise ArtifactError(
            f"{file} cannot be read as weights: {error}", hint="copy or download the file again"
        ) from error
