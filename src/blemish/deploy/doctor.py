"""What the machine offers, what is installed, where the weights are, and whether they fit."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

import torch

from blemish import hardware
from blemish.backbones import PUBLISHED, find
from blemish.config import preset
from blemish.detection.inspector import Inspector
from blemish.errors import BlemishError, DependencyError
from blemish.generator_config import LearningConfig
from blemish.networks.encoder import weights_path
from blemish.presets import PRESETS
from blemish.version import __version__

_PACKAGES = ("torch", "accelerate", "numpy", "pillow", "pydantic", "safetensors")
_OPTIONAL = (
    "onnxruntime",
    "openvino",
    "nncf",
    "fastapi",
    "transformers",
    "tensorboard",
    "mlflow-skinny",
    "wandb",
)
_BYTES_PER_WEIGHT = 4 * 6  # the weight, its gradient, two Adam moments, two averages
_NOTE = (
    "weights_fit: the weights with all that trains them take less than 80 % of the memory; the "
    "activations of a batch come on top, and may take far more. learning_gib: a backbone's weights and "
    "what an update keeps for its backward pass; fits: less than 80 % of the memory"
)


def examine() -> dict[str, Any]:
    """Return the facts, ready for JSON; nothing is downloaded or written."""
    where = hardware.device()
    memory = _memory(where)
    return {
        "blemish": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": str(where),
        "device_name": hardware.model(where),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _gib(memory),
        "fast_bfloat16": hardware.has_fast_bfloat16(where),
        "packages": {name: _version(name) for name in _PACKAGES},
        "optional_packages": {name: _version(name) for name in _OPTIONAL},
        "weights": {"efficientnet-lite0 (ImageNet)": _weights()},
        "backbones": {name: _backbone(name, where, memory) for name in PUBLISHED},
        "presets": {name: _fit(name, memory) for name in PRESETS},
        "note": _NOTE,
    }


def _backbone(name: str, where: torch.device, memory: int | None) -> dict[str, Any] | str:
    """Return where a pretrained backbone lies, and what learning tokens on it takes."""
    from blemish.backbones.needs import estimate  # diffusers takes seconds to import

    dtype = hardware.precision("auto", where)
    try:
        folder = find(name)
        needs = estimate(folder, batch=LearningConfig().batch, dtype=dtype)
    except BlemishError as error:
        return f"missing: {error.hint}"
    needed = needs.weights + needs.step
    return {
        "folder": str(folder),
        "weights_gib": _gib(needs.weights),
        "learning_gib": _gib(needed),
        "fits": None if memory is None else needed < 0.8 * memory,
    }


def _fit(name: str, memory: int | None) -> dict[str, Any]:
    """Return a preset's size, and whether its weights with all that trains them fit the memory."""
    with torch.device("meta"):
        inspector = Inspector(preset(name))
    weights = sum(p.numel() for p in inspector.parameters())
    needed = weights * _BYTES_PER_WEIGHT
    return {
        "million_weights": round(weights / 1e6, 2),
        "training_state_gib": _gib(needed),
        "weights_fit": None if memory is None else needed < 0.8 * memory,
    }


def _memory(where: torch.device) -> int | None:
    if where.type == "cuda":
        return int(torch.cuda.get_device_properties(where).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _weights() -> str:
    try:
        return str(weights_path())
    except DependencyError as error:
        return f"missing: {error.hint}"


def _gib(size: int | None) -> float | None:
    return None if size is None else round(size / 2**30, 2)
