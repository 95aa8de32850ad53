"""What words of the command line mean."""

from __future__ import annotations

import argparse
import math


def duration(text: str) -> float:
    """Return seconds for a duration such as 90s, 30m or 2h.

    >>> duration("30m")
    1800.0
    """
    scale = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        seconds = float(text[:-1]) * (scale or 0)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 30m or 2h, got {text!r}")
    return seconds


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def port(text: str) -> int:
    """Return a port number, 0 to 65535."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def share(text: str) -> float:
    """Return a number between 0 and 1, both excluded."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text!r}")
    return value


def finite(text: str) -> float:
    """Return a number that is neither infinite nor undefined."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def shots(text: str) -> int | str:
    """Return `third`, or a whole number of at least 1."""
    return text if text == "third" else positive(text)


def corners(text: str) -> tuple[tuple[float, float], ...]:
    """Return the corners of a polygon.

    >>> corners("0,0 10,0 10,5")
    ((0.0, 0.0), (10.0, 0.0), (10.0, 5.0))
    """
    try:
        found = tuple((float(x), float(y)) for x, y in (word.split(",") for word in text.split()))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'expected "x,y x,y x,y", got {text!r}') from error
    return found
