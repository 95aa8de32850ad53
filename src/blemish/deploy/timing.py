"""How fast a form of an inspector is on this machine, and how much memory it takes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.data.images import read_image
from blemish.deploy.inspection import find_photos
from blemish.errors import BlemishError
from blemish.runtime import keep_memory, peak_memory
from blemish.verdicts import Detector

_SHOWN = 32
_WARM = 3


def timed(
    folder: Path,
    photos: Path | None,
    *,
    batch: int = 8,
    seconds: float = 10.0,
    device: str = "auto",
    precision: str = "auto",
) -> dict[str, Any]:
    """Return the figures of one detector, measured in a process of its own.

    latency_ms: of one photo, `p50` and `p99`; images_per_second: in batches; both from decoded photo to
    verdict with its map, without reconstruction. load_seconds: from the folder to the first verdict;
    memory_mib: the largest that the process held, all libraries included.

    Raises:
        BlemishError: the detector cannot be loaded, or there is no photo.
    """
    task = json.dumps([str(folder), photos and str(photos), batch, seconds, device, precision])
    words = [sys.executable, "-m", "blemish.deploy.timing", task]
    done = subprocess.run(  # noqa: S603 - this very module
        words, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise BlemishError(f"{folder} could not be timed: the process ended with {done.returncode}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise BlemishError(answer["error"], hint=answer["hint"])
    return {"detector": str(folder), **answer}


def measure(
    folder: Path, photos: Path | None, batch: int, seconds: float, device: str, precision: str
) -> dict[str, Any]:
    """Return what `timed` does, but its name, measured in this process."""
    keep_memory()
    begun = time.perf_counter()
    detector = Detector.load(folder, device=device, precision=precision)
    images = _images(photos, detector.view.size)
    list(detector.predict_many(images[:1], reconstruct=False))
    loaded = time.perf_counter() - begun

    def one_by_one(turn: int) -> None:
        list(detector.predict_many([images[turn % len(images)]], reconstruct=False))

    def together(turn: int) -> None:
        some = [images[(turn * batch + n) % len(images)] for n in range(batch)]
        list(detector.predict_many(some, batch_size=batch, reconstruct=False))

    single = _paced(one_by_one, seconds)
    many = _paced(together, seconds)
    memory = peak_memory()
    p50, p99 = np.percentile(single, [50, 99])
    return {
        "runs_on": detector.runs_on,
        "precision": detector.precision,
        "latency_ms": {"p50": round(1000 * float(p50), 2), "p99": round(1000 * float(p99), 2)},
        "images_per_second": round(batch * len(many) / sum(many), 2),
        "batch": batch,
        "load_seconds": round(loaded, 2),
        "memory_mib": None if memory is None else round(memory),
    }


def _paced(work: Callable[[int], None], seconds: float) -> list[float]:
    """Return the time that each repetition took, in seconds, after a few that do not count."""
    for turn in range(_WARM):
        work(turn)
    times: list[float] = []
    while sum(times) < seconds:
        begun = time.perf_counter()
        work(len(times))
        times.append(time.perf_counter() - begun)
    return times


def _images(photos: Path | None, size: int) -> list[npt.NDArray[np.uint8]]:
    """Return photos as they are, or noise of the networks' size: what it shows costs nothing."""
    if photos is None:
        rng = np.random.default_rng(0)
        return [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(4)]
    return [read_image(path) for path in find_photos([photos])[:_SHOWN]]


def main() -> None:
    """Measure what the first argument asks for and print it as JSON."""
    folder, photos, *rest = json.loads(sys.argv[1])
    try:
        answer = measure(Path(folder), photos and Path(photos), *rest)
    except BlemishError as error:
        answer = {"error": error.args[0], "hint": error.hint}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
