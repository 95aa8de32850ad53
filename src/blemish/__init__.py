"""blemish: a handful of photos become a calibrated visual inspector.

>>> import blemish
>>> detector = blemish.Detector.load("runs/tiles/detector")  # doctest: +SKIP
>>> detector.predict("photo.jpg").anomalous  # doctest: +SKIP
False
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from blemish.errors import BlemishError
from blemish.records import Prediction
from blemish.version import __version__

if TYPE_CHECKING:
    from blemish.config import preset
    from blemish.data import check, read_dataset
    from blemish.detection import train
    from blemish.experiments import evaluate
    from blemish.generation import Generator, learn
    from blemish.generator_config import GeneratorConfig
    from blemish.training import Plan
    from blemish.verdicts import Detector

# Imported on first use: `import blemish` and the command line's --help need not wait for torch.
_LATER = {
    "Detector": "blemish.verdicts",
    "Generator": "blemish.generation",
    "GeneratorConfig": "blemish.generator_config",
    "Plan": "blemish.training",
    "check": "blemish.data",
    "evaluate": "blemish.experiments",
    "learn": "blemish.generation",
    "preset": "blemish.config",
    "read_dataset": "blemish.data",
    "train": "blemish.detection",
}


def __getattr__(name: str) -> object:
    """Return a public name, importing its room when it is first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module 'blemish' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


__all__ = [
    "BlemishError",
    "Detector",
    "Generator",
    "GeneratorConfig",
    "Plan",
    "Prediction",
    "__version__",
    "check",
    "evaluate",
    "learn",
    "preset",
    "read_dataset",
    "train",
]
