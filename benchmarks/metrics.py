"""Time and peak memory of the exact pixel metrics: run it, and read one line of JSON.

Draws 1526 score maps of 256 x 256 with 2 % defect pixels (100 million in all) in this process, adds
them to `PixelScores`, and evaluates everything.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time

import numpy as np

from blemish.metrics import PixelScores


def draw(rng: np.random.Generator, size: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a score map and a mask whose two square defects cover `share` of it."""
    scores = rng.standard_normal((size, size), dtype=np.float32)
    mask = np.zeros((size, size), dtype=bool)
    side = round(size * (share / 2) ** 0.5)
    for half in (0, size // 2):
        top, left = rng.integers(size // 2 - side), rng.integers(size - side)
        mask[half + top : half + top + side, left : left + side] = True
    scores[mask] += 2
    return scores, mask


def peak_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=1526)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--share", type=float, default=0.02, help="share of defect pixels")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    pixels = PixelScores()
    start_mib = peak_mib()
    seconds = {"add": 0.0}
    for _ in range(options.maps):
        scores, mask = draw(rng, options.size, options.share)
        start = time.perf_counter()
        pixels.add(scores, mask)
        seconds["add"] += time.perf_counter() - start
    values = {}
    # The first metric pays for the one sort that all of them share.
    for name in ("auroc", "average_precision", "f1_max", "pro"):
        start = time.perf_counter()
        values[name] = getattr(pixels, name)()
        seconds[name] = time.perf_counter() - start
    result = {
        "pixels": options.maps * options.size**2,
        "defect_share": options.share,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "seconds_total": round(sum(seconds.values()), 2),
        "peak_rss_mib": round(peak_mib()),
        "start_rss_mib": round(start_mib),
        "values": values,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
