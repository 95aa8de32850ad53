"""A run killed again and again ends like one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from blemish.cli import main
from blemish.config import write_yaml
from blemish.data import read_dataset
from blemish.detection import train
from blemish.training import Plan

# A checkpoint after every iteration, so that many a kill falls into the writing of one.
PLAN = Plan(iterations=40, validations=3, checkpoint_seconds=0.0)
WEIGHTS = "detector/weights.safetensors"


def progress(folder: Path) -> int:
    path = folder / "progress.json"
    return json.loads(path.read_text())["iteration"] if path.exists() else 0


def log(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_a_run_killed_at_random_moments_ends_with_the_weights_of_one_left_alone(
    product, tiny, tmp_path, processes
):
    dataset, config = read_dataset(product), tiny()
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    train(dataset, config, alone, PLAN, device="cpu")
    rng = random.Random(0)  # noqa: S311 - no secret
    for further in (0, rng.randint(2, 9), rng.randint(2, 9)):
        goal = progress(killed) + further
        worker = processes.Process(
            target=train,
            args=(dataset, config, killed, PLAN),
            kwargs={"device": "cpu", "resume": True},
        )
        worker.start()
        while worker.is_alive() and progress(killed) < goal:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.03))
        worker.kill()
        worker.join()
        assert worker.exitcode == -signal.SIGKILL
    assert 0 < progress(killed) < PLAN.iterations
    train(dataset, config, killed, PLAN, device="cpu", resume=True)
    assert (killed / WEIGHTS).read_bytes() == (alone / WEIGHTS).read_bytes()
    assert log(killed) == log(alone)


def run_in_a_group(words: list[str]) -> None:
    """Run the command line as a terminal does: with its worker processes in a group of their own."""
    os.setsid()
    sys.exit(main(words))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_workers_too_and_the_run_stops_with_its_state_saved(
    product, tiny, tmp_path, processes, number
):
    write_yaml(tmp_path / "tiny.yaml", tiny(training={"workers": 1}))
    folder = tmp_path / "run"
    words = ["train", str(product), "--out", str(folder), "--config", str(tmp_path / "tiny.yaml")]
    words += ["--device", "cpu", "--iterations", "100000"]
    worker = processes.Process(target=run_in_a_group, args=(words,))
    worker.start()
    while worker.is_alive() and not (folder / "log.jsonl").exists():
        time.sleep(0.002)
    os.killpg(worker.pid, number)
    worker.join()
    assert worker.exitcode == 130
    assert progress(folder) >= 10
    assert not (folder / "detector").exists()
