"""The command line: verbs that parse, call one function, and print.

stdout carries data (JSON lines), stderr carries talk. Exit code 0: done; 2: something that the user
can put right; 130: stopped by the user.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from blemish.cli.parser import parser
from blemish.errors import BlemishError, DependencyError

_ROOMS = {
    **dict.fromkeys(["inspect", "calibrate"], "inspecting"),
    **dict.fromkeys(["export", "bench"], "exporting"),
    **dict.fromkeys(["serve", "watch"], "serving"),
    **dict.fromkeys(["learn", "generate", "masks", "review", "reproduce-sample"], "generation"),
    **dict.fromkeys(["reproduce"], "experiments"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(words)
    # Imported here: --help and a mistyped verb need not wait for torch.
    from blemish.runtime import configure_logging, keep_memory, logger

    configure_logging(options.verbose)
    keep_memory()
    try:
        code = _run(options.verb, options)
    except BlemishError as error:
        if options.debug:
            raise
        logger.error("error: %s", error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        if options.debug:
            raise
        logger.error("error: %s", error)
        return 2
    return code


def _run(verb: str, options: object) -> int:
    """Run a verb; only the rooms that it needs are imported.

    Raises:
        BlemishError: the graphics card has too little memory.
        DependencyError: it needs more than is installed here.
    """
    try:
        room = import_module(f"blemish.cli.{_ROOMS.get(verb, 'verbs')}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "blemish":
            raise
        raise DependencyError(
            f"`blemish {verb}` needs {error.name}, which is not installed",
            hint="pip install 'blemish[train]'",
        ) from error
    try:
        code: int = getattr(room, verb.replace("-", "_"))(options)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise BlemishError(
            f"the graphics card has too little memory: {error}",
            hint="inspect, calibrate, evaluate: --batch 1; train: --set training.accumulation=2 or 4, "
            "or a smaller preset, of which fast is the smallest",
        ) from error
    return code


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether PyTorch, where it is imported at all, found no memory on a graphics card."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


__all__ = ["main", "parser"]
