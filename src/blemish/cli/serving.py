"""Verbs that go on until they are stopped."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from blemish.cli.inspecting import loaded
from blemish.cli.output import emit
from blemish.errors import ConfigError, DependencyError
from blemish.runtime import logger
from blemish.verdicts import Detector

KEY = "BLEMISH_API_KEY"


def serve(options: argparse.Namespace) -> int:
    """Serve until a signal comes.

    Raises:
        ConfigError: other machines could come in without a key, or no client can send it.
        DependencyError: the web framework is not installed.
    """
    try:
        from blemish.deploy.service.running import run
        from blemish.deploy.service.settings import ServiceSettings
        from blemish.deploy.service.workbench import Workbench
    except ModuleNotFoundError as error:
        raise DependencyError(
            f"`blemish serve` needs {error.name}, which is not installed",
            hint="pip install 'blemish[train,serve]'",
        ) from error
    from blemish.data import read_dataset
    from blemish.generation import Generator

    limits = {
        name: value
        for name in ("queue", "batch", "max_bytes", "max_pixels", "timeout")
        if (value := getattr(options, name)) is not None
    }
    settings = ServiceSettings(host=options.host, port=options.port, key=_key(options), **limits)
    if not settings.local and settings.key is None and not options.no_key:
        raise ConfigError(
            f"at {settings.host} other machines can reach the service, and there is no key",
            hint=f"give --key-file or {KEY}, or say --no-key",
        )
    generator = options.generator
    arithmetic = {"device": options.device, "precision": options.precision}
    bench = Workbench(
        Detector.load(options.detector, **arithmetic),
        settings,
        name=options.detector.resolve().name,
        generator=None if generator is None else Generator.load(generator, **arithmetic),
        generator_name="" if generator is None else generator.resolve().name,
        dataset=None if options.data is None else read_dataset(options.data),
        pairs=options.pairs,
        reports=options.reports,
    )
    return run(bench)


def _key(options: argparse.Namespace) -> str | None:
    """Return the key that clients must send, without spaces around it, which no header keeps.

    Raises:
        ConfigError: its file is empty or cannot be read.
    """
    file: Path | None = options.key_file
    if file is None:
        return os.environ.get(KEY, "").strip() or None
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read: {error}", hint="give a file with one word"
        ) from error
    if not key:
        raise ConfigError(f"{file} is empty", hint="write the key into it")
    return key


def watch(options: argparse.Namespace) -> int:
    """Inspect what arrives until a signal comes, and print each finding that has been written."""
    from blemish.deploy.watching import Watch

    with Watch(loaded(options), options.folder, options.out, overlays=not options.no_overlays) as work:
        logger.info("watching %s; findings are in %s", options.folder, options.out)
        reading = True
        for line in work.lines(every=options.every, once=options.once):
            reading = reading and _told(line, options.out)
    return 0


def _told(line: dict[str, Any], out: Path) -> bool:
    """Print a finding and return whether anybody reads what is printed: it is on the disk already."""
    try:
        emit(line)
    except BrokenPipeError:
        logger.warning("nobody reads the output any more; findings go on in %s", out)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would fail, too
        return False
    return True
