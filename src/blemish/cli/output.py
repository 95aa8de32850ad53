"""Data for other programs: JSON lines on stdout."""

from __future__ import annotations

import json
import sys


def emit(value: object) -> None:
    """Print one value as a line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()
