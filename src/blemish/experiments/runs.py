"""Finished cells, by product and method, and how sure one may be of their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from blemish.experiments.downstream import SCORES, read_scores
from blemish.experiments.grid import Cell, Result
from blemish.experiments.tables import Figure, mean_of
from blemish.metrics import percentile_interval, redrawn, unanimous, weighted_auroc
from blemish.randomness import numpy_generator
from blemish.records import GOOD

REPEATS = 500


@dataclass(frozen=True, slots=True)
class Runs:
    """All cells of one method on one product: a result for each seed, and their folders."""

    results: Sequence[Result]
    folders: Sequence[Path]

    def mean(self, key: str, section: str = "figures") -> float | None:
        """Return the mean over the seeds, None where one of them is undefined or was not measured."""
        return mean_of(result.get(section, {}).get(key) for result in self.results)

    def spread(self, key: str, section: str) -> str:
        """Return a count over the seeds in words, such as 9, or 7 to 9 where they differ."""
        counts = [result[section][key] for result in self.results]
        low, high = min(counts), max(counts)
        return f"{low}" if low == high else f"{low} to {high}"

    def over_types(self, label: str, key: str) -> float | None:
        """Return the mean over the seeds of a type's figure."""
        return mean_of(result["per_type"][label][key] for result in self.results)


def grouped(cells: Sequence[Cell], results: Sequence[Result], root: Path) -> dict[str, dict[str, Runs]]:
    """Return the runs of each product and method; a cell's name is product/task/method/seed."""
    found: dict[str, dict[str, list[tuple[Result, Path]]]] = {}
    for cell, result in zip(cells, results, strict=True):
        product, _, method, _ = cell.name.rsplit("/", 3)
        found.setdefault(product, {}).setdefault(method, []).append((result, root / cell.name))
    return {
        product: {
            method: Runs([r for r, _ in runs], [f for _, f in runs]) for method, runs in methods.items()
        }
        for product, methods in found.items()
    }


class Redrawn:
    """The figures of methods on the same redrawn test photos, averaged over their seeds."""

    def __init__(self, runs: Mapping[str, Runs], repeats: int = REPEATS) -> None:
        self.scores = {m: [read_scores(f / SCORES) for f in r.folders] for m, r in runs.items()}
        self.labels = next(iter(self.scores.values()))[0].labels
        self.weights = redrawn(self.labels, numpy_generator(0, "test photos"), repeats)
        self.truth = [label != GOOD for label in self.labels]

    def value(self, method: str, key: str, weights: npt.NDArray[np.float64]) -> float:
        """Return a method's pixel AP or image AUROC with each photo counted `weights` times."""
        runs = self.scores[method]
        if key == "pixel_ap":
            return float(np.mean([run.counts.average_precision(weights) for run in runs]))
        return float(np.mean([weighted_auroc(run.scores, self.truth, weights) for run in runs]))

    def figure(self, method: str, key: str, value: float | None) -> Figure:
        """Return the figure with the interval of its method.

        The interval is of counted maps, which may be smaller than those that the figure is of: it is
        moved by what the two differ on all photos once, but not beyond 0 and 1. Of an AUROC of 1 or 0
        it is `unanimous`; of another figure that no redrawing moves there is none.
        """
        if key == "image_auroc" and value in (0, 1):
            defects = sum(self.truth)
            return Figure(value, *unanimous(value, min(defects, len(self.truth) - defects)))
        found = self._about(value, lambda w: self.value(method, key, w), least=0.0)
        return Figure(value) if found.low == found.high else found

    def gain(
        self, method: str, other: str, key: str, value: float | None, label: str | None = None
    ) -> Figure:
        """Return what a method has over another, with its interval, likewise.

        label: the type of defect that the good photos are judged against; None takes all.
        """
        here = np.array([label is None or shown in (GOOD, label) for shown in self.labels], np.float64)

        def lead(weights: npt.NDArray[np.float64]) -> float:
            counted = weights * here
            return self.value(method, key, counted) - self.value(other, key, counted)

        return self._about(value, lead, least=-1.0)

    def _about(
        self,
        value: float | None,
        statistic: Callable[[npt.NDArray[np.float64]], float],
        *,
        least: float,
    ) -> Figure:
        if value is None:
            return Figure(None)
        off = value - statistic(np.ones(len(self.truth)))
        low, high = percentile_interval(statistic, self.weights)
        return Figure(value, max(low + off, least), min(high + off, 1.0))
