"""A plain product with two obvious types of defects, and finished runs whose quality is known."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from blemish.data import Dataset, read_dataset, write_sample
from blemish.experiments.downstream import SCORES, write_scores
from blemish.experiments.runs import Runs
from handmade import made_maps, plain_photo

Skill = float | Mapping[str, float]


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """12 good photos to learn from; 6 good ones, 9 spots and 9 bars in the test split."""
    root = tmp_path_factory.mktemp("plain") / "tile"
    for index in range(12):
        write_sample(root, "good", f"{index:02d}", plain_photo("good", index)[0], split="train")
    for index in range(6):
        write_sample(root, "good", f"{index:02d}", plain_photo("good", 100 + index)[0])
    for label in ("spot", "bar"):
        for index in range(9):
            write_sample(root, label, f"{index:02d}", *plain_photo(label, index))
    return read_dataset(root)


@pytest.fixture
def made_runs(tmp_path: Path) -> Callable[[Mapping[str, Sequence[Skill]]], dict[str, Runs]]:
    """Return finished runs of methods, a seed for each skill: `made_runs({"real": [0.1, 0.1]})`."""

    grids = itertools.count()

    def make(methods: Mapping[str, Sequence[Skill]]) -> dict[str, Runs]:
        found, root = {}, tmp_path / f"runs{next(grids)}"
        for place, (method, skills) in enumerate(methods.items()):
            results, folders = [], []
            for seed, skill in enumerate(skills):
                folder = root / method / f"seed{seed}"
                maps = made_maps(skill, 100 * place + seed)
                write_scores(folder / SCORES, maps)
                results.append(
                    {
                        "figures": maps.figures(),
                        "per_type": {t: maps.figures([t]) for t in ("bar", "spot")},
                        "false_alarm_rate": 0.25 * seed,
                        "detector": {"examples": 7 + seed, "iterations": 90},
                    }
                )
                folders.append(folder)
            found[method] = Runs(results, folders)
        return found

    return make
