"""Data for other programs: JSON lines on stdout."""

from __future__ import annotations

import json
import sys


def emit(value: object) -> None:
    """Print one value as a line of JSON on stdout, in ASCII: file names may be in any encoding."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()
