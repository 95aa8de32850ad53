"""Where the weights of a backbone are looked for, and the one way to open it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import torch

from blemish.backbones.protocol import LatentBackbone
from blemish.errors import DependencyError
from blemish.runtime import logger

SHELF = "BLEMISH_BACKBONES"
EMBEDDED = "embedded"
"""The name of the backbone that the package brings along."""

_BROUGHT = Path(__file__).with_name("weights")


class Published(NamedTuple):
    """A model on the hub: the commit this package was written for, its licence, its weight files."""

    revision: str | None
    licence: str
    weights: tuple[str, ...]


PUBLISHED = {
    "CompVis/ldm-text2im-large-256": Published(
        "30de525ca11a880baea4962827fb6cb0bb268955",
        "Apache-2.0",
        ("*/diffusion_pytorch_model.bin", "*/pytorch_model.bin"),
    ),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": Published(
        "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        "CreativeML OpenRAIL-M, which forbids some uses: read it before you publish what you make",
        ("*/diffusion_pytorch_model.safetensors", "*/model.safetensors"),
    ),
}
_OTHER = Published(
    None, "see its page", ("*/diffusion_pytorch_model.safetensors", "*/model.safetensors")
)
_SETTINGS = ("model_index.json", "*/config.json", "scheduler/*", "tokenizer/*")


def open_backbone(
    name: str, *, device: torch.device, dtype: torch.dtype, download: bool = False
) -> LatentBackbone:
    """Return a backbone, frozen, its weights on a device in a number format.

    name: `embedded` is the package's own; else a folder; or a name or hub id, looked for in the folder
    that the environment variable BLEMISH_BACKBONES names, then in the local Hugging Face cache, and
    with `download` on the hub.

    Raises:
        DependencyError: the weights, or the package that reads them, are not installed.
        ArtifactError: the folder is no backbone, or is damaged.
    """
    folder = find(name, download=download)
    if name in PUBLISHED:
        logger.info(f"{name}: its licence is {PUBLISHED[name].licence}")
    logger.debug(f"backbone: {folder}")
    # imported now: looking for a folder needs neither of them
    from blemish.backbones.embedded import KIND, Embedded
    from blemish.backbones.pretrained import Pretrained

    kind = Embedded if _kind(folder) == KIND else Pretrained
    return kind.load(folder, device=device, dtype=dtype)


def _kind(folder: Path) -> object:
    """Return the class that a folder's index names, None where it has no index."""
    try:
        return json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def find(name: str, *, download: bool = False) -> Path:
    """Return the folder of a backbone; without `download` nothing touches the network.

    Raises:
        DependencyError: it lies in none of the places where it is looked for.
    """
    if name == EMBEDDED:
        return _BROUGHT / EMBEDDED
    given = Path(name).expanduser()
    if given.is_dir():
        return given
    shelf = os.environ.get(SHELF)
    places = [Path(shelf, name), Path(shelf, given.name)] if shelf else []
    for place in places:
        if place.is_dir():
            return place
    return _snapshot(name, download=download)


def _snapshot(name: str, *, download: bool) -> Path:
    """Return the folder of a hub id in the local cache, filled from the hub where asked."""
    import huggingface_hub

    model = PUBLISHED.get(name, _OTHER)
    try:
        folder = huggingface_hub.snapshot_download(
            name,
            revision=model.revision,
            allow_patterns=[*_SETTINGS, *model.weights],
            local_files_only=not download,
        )
    except (OSError, ValueError) as error:
        asked = f", and the hub did not give it: {error}" if download else ""
        raise DependencyError(
            f"the backbone {name} is no folder, not in {os.environ.get(SHELF) or f'${SHELF}'} and "
            f"not in the Hugging Face cache{asked}",
            hint=f"put its folder, as diffusers wrote it, into a folder and let {SHELF} name that one; "
            "or give the path",
        ) from error
    return Path(folder)
