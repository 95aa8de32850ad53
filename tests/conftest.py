"""What many tests share: a tiny product, a tiny configuration, and an inspector trained in a moment."""

from __future__ import annotations

import os

# The tests are many and small: one thread each, in this process and in those it starts.
os.environ["OMP_NUM_THREADS"] = "1"

import logging
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest
import torch

from blemish.config import InspectorConfig, merged, preset
from blemish.data import read_dataset, write_sample
from blemish.detection import TrainedDetector, train
from blemish.randomness import numpy_generator
from blemish.synthesis import draw_defect, draw_good
from blemish.training import Plan
from commands import blemish  # noqa: F401
from generator_fixtures import dataset, generator, network, nuts, small_backbone, trained  # noqa: F401
from service_fixtures import serve  # noqa: F401

SIZE = 64
TINY: dict[str, Any] = {
    "data": {"size": SIZE, "framing": "letterbox", "turns": []},
    "synthesis": {"kind": "object", "monochrome": False},
    "denoiser": {"width": 16},
    "segmenter": {"width": 16},
    "training": {"normals": 2, "defects": 2, "workers": 0, "precision": "fp32", "warmup": 0},
}

Settings = Callable[..., InspectorConfig]

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Settings:
    """Return the smallest useful configuration with overrides laid over it: `tiny(training={...})`."""

    def settings(**overrides: Mapping[str, Any]) -> InspectorConfig:
        return preset("fast", merged(TINY, overrides))

    return settings


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder: 12 good nuts to train on, 3 good and 3 scratched ones to test on."""
    root = tmp_path_factory.mktemp("data") / "nut"
    for index in range(12):
        photo = draw_good("nut", SIZE, numpy_generator(0, "train", index))
        write_sample(root, "good", f"{index:03d}", photo, split="train")
    for index in range(3):
        photo = draw_good("nut", SIZE, numpy_generator(0, "test", index))
        write_sample(root, "good", f"{index:03d}", photo)
        rng = numpy_generator(0, "scratch", index)
        write_sample(root, "scratch", f"{index:03d}", *draw_defect("nut", "scratch", SIZE, rng))
    return root


@pytest.fixture(scope="session")
def run_folder(product: Path, tiny: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of ten iterations; the detector is in `detector`."""
    folder = tmp_path_factory.mktemp("runs") / "nut"
    train(read_dataset(product), tiny(), folder, Plan(iterations=10, validations=2), device="cpu")
    return folder


@pytest.fixture(scope="session")
def detector(run_folder: Path) -> TrainedDetector:
    """The detector of that run; it has no state that a test could change."""
    return TrainedDetector.load(run_folder / "detector", device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def processes() -> BaseContext:
    """A way to start fresh processes that have the package imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["blemish.cli.verbs"])
    return context


@pytest.fixture
def restored_logger() -> Iterator[logging.Logger]:
    """The package's logger; what the test does to it is undone."""
    logger = logging.getLogger("blemish")
    state = (logger.handlers[:], logger.level, logger.propagate)
    yield logger
    logger.handlers[:], logger.level, logger.propagate = state


@pytest.fixture
def written_elsewhere() -> Callable[[Path], AbstractContextManager[subprocess.Popen[str]]]:
    """Let another program write to a folder for as long as the block lasts."""

    @contextmanager
    def hold(folder: Path) -> Iterator[subprocess.Popen[str]]:
        script = "import sys, pathlib, blemish.runtime as r\n"
        script += "with r.alone(pathlib.Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", script, str(folder)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "in\n"
            try:
                yield other
            finally:
                other.kill()

    return hold
