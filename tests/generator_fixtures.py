"""A tiny product with two types of defects, and generators that have learned it in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from blemish.backbones.embedded import Embedded, Shape
from blemish.config import validated
from blemish.data import Dataset, read_dataset, write_sample
from blemish.generation import Generator, learn
from blemish.generator_config import GeneratorConfig
from blemish.randomness import numpy_generator
from blemish.synthesis import draw_defect, draw_good
from blemish.training import Plan

SIDE = 96
SQUARE, WIDTH = 64, 8


@pytest.fixture(scope="session")
def nuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder: 8 good nuts to train on, 3 rusty and 3 scratched ones to learn from."""
    root = tmp_path_factory.mktemp("few") / "nut"
    for index in range(8):
        photo = draw_good("nut", SIDE, numpy_generator(1, "good", index))
        write_sample(root, "good", f"{index:03d}", photo, split="train")
    for label in ("rust", "scratch"):
        for index in range(3):
            rng = numpy_generator(1, label, index)
            write_sample(root, label, f"{index:03d}", *draw_defect("nut", label, SIDE, rng))
    return root


@pytest.fixture(scope="session")
def dataset(nuts: Path) -> Dataset:
    return read_dataset(nuts)


@pytest.fixture(scope="session")
def generator(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    """A generator with the default settings, learned from all six defects; no test changes it."""
    return learn(dataset, GeneratorConfig(), tmp_path_factory.mktemp("runs") / "nut", device="cpu")


@pytest.fixture(scope="session")
def small_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained embedded backbone, large enough for a margin around a defect."""
    folder = tmp_path_factory.mktemp("backbones") / "small"
    shape = Shape(size=SQUARE, patch=4, widths=(16, 32), token_width=WIDTH, head_width=8)
    Embedded.fresh(shape, 0).save(folder)
    return folder


@pytest.fixture(scope="session")
def trained(dataset: Dataset, small_backbone: Path, tmp_path_factory: pytest.TempPathFactory):
    """Learn by two iterations of the small backbone: `trained("network", learning={...})`."""

    def make(painter: str, backbone: Path = small_backbone, **learning: object) -> Generator:
        settings = {
            "product": {"kind": "object", "turns": ["mirror"]},
            "learning": {"backbone": str(backbone), "batch": 2, "precision": "fp32", **learning},
            "painting": {"painter": painter, "steps": 3},
        }
        plan = Plan(iterations=2, validations=1)
        folder = tmp_path_factory.mktemp("runs") / painter
        return learn(dataset, validated(GeneratorConfig, settings), folder, plan, device="cpu")

    return make


@pytest.fixture(scope="session")
def network(trained) -> Generator:
    """A generator whose network and mask tokens have learned for two iterations."""
    return trained("network", masks=True)
