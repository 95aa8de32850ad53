"""The command line as a person meets it, called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from blemish.cli import main


class Said(NamedTuple):
    """What a command left: exit code, the JSON values of stdout, and stderr."""

    code: int
    lines: list[Any]
    talk: str


Command = Callable[..., Said]


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def blemish(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: object) -> Said:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        found = capsys.readouterr()
        return Said(code, [strict(line) for line in found.out.splitlines()], found.err)

    return run
