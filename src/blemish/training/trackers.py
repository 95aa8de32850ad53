"""Who else may be told how a run goes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from blemish.errors import DependencyError

_TRACKERS = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


def refuse_missing(trackers: Sequence[str]) -> None:
    """Stop where a run is to be told to a tracker that cannot be.

    Raises:
        DependencyError: there is no such tracker, or it is not installed.
    """
    for name in trackers:
        if name not in _TRACKERS:
            raise DependencyError(
                f"there is no tracker {name!r}", hint=f"choose of: {', '.join(_TRACKERS)}"
            )
        if find_spec(_TRACKERS[name]) is None:
            raise DependencyError(f"{name} is not installed", hint="pip install 'blemish[trackers]'")
