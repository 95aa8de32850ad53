"""However a global batch is shared, the same weights come out; and the same pairs, whoever paints."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from blemish.config import validated
from blemish.data import read_dataset, write_sample
from blemish.detection import train
from blemish.generation import Generator, learn
from blemish.generator_config import GeneratorConfig
from blemish.randomness import numpy_generator
from blemish.synthesis import draw_defect, draw_good
from blemish.training import Plan

PLAN = Plan(iterations=6, validations=1)
ONE_FEWER = Plan(iterations=5, validations=1)
PATIENCE = 600
PAIRS = {"rust": 3, "scratch": 2}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def join(rank, world, port):
    """Be one of several processes, told so in the way of torchrun."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def run_rank(rank, world, port, dataset, config, folder):
    """Train as one of several processes."""
    join(rank, world, port)
    train(dataset, config, folder, PLAN, device="cpu")
    torch.distributed.destroy_process_group()


def generate_rank(rank, world, port, dataset, generator, folder):
    """Paint as one of several processes, and leave a note of how many pairs that were."""
    join(rank, world, port)
    own, painter = [], Generator.load(generator, device="cpu")
    painter.generate(dataset.train, PAIRS, folder, seed=3, report=own.append)
    folder.with_name(f"rank {rank}").write_text(str(len(own)))
    torch.distributed.destroy_process_group()


def together(processes, run, *words):
    """Let two processes do the same, and wait until both are done."""
    port = free_port()
    ranks = [processes.Process(target=run, args=(rank, 2, port, *words)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    try:
        for rank in ranks:
            rank.join(PATIENCE)
        assert [rank.exitcode for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()


def weights(folder: Path) -> torch.Tensor:
    tensors = load_file(folder / "detector" / "weights.safetensors")
    return torch.cat([tensors[name].double().flatten() for name in sorted(tensors)])


@pytest.fixture(scope="module")
def alone(product, tiny, tmp_path_factory) -> tuple[torch.Tensor, float]:
    """The weights that one process trains, and how far its last iteration carried them."""
    folder, dataset = tmp_path_factory.mktemp("alone"), read_dataset(product)
    train(dataset, tiny(), folder / "whole", PLAN, device="cpu")
    train(dataset, tiny(), folder / "shorter", ONE_FEWER, device="cpu")
    whole = weights(folder / "whole")
    return whole, float((whole - weights(folder / "shorter")).norm())


def assert_same(found: torch.Tensor, alone: tuple[torch.Tensor, float]) -> None:
    """Check that rounding alone parts the weights.

    Adam turns the sign of a gradient that is zero but for rounding into a whole step, so single
    weights that have no influence may differ; together they stay far below one iteration's way.
    """
    expected, way = alone
    assert way > 0
    assert float((found - expected).norm()) < 0.05 * way


def test_two_processes_give_the_weights_of_one(product, tiny, tmp_path, processes, alone):
    together(processes, run_rank, read_dataset(product), tiny(), tmp_path / "run")
    assert_same(weights(tmp_path / "run"), alone)
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2


def test_accumulated_micro_batches_give_the_weights_of_whole_batches(product, tiny, tmp_path, alone):
    parts = tiny(training={"accumulation": 2})
    train(read_dataset(product), parts, tmp_path / "run", PLAN, device="cpu")
    assert_same(weights(tmp_path / "run"), alone)


@pytest.fixture
def nuts(tmp_path) -> Path:
    """A dataset folder of good, rusty and scratched nuts."""
    root = tmp_path / "nut"
    for index in range(5):
        photo = draw_good("nut", 96, numpy_generator(3, "good", index))
        write_sample(root, "good", str(index), photo, split="train")
    for label in PAIRS:
        for index in range(2):
            rng = numpy_generator(3, label, index)
            write_sample(root, label, str(index), *draw_defect("nut", label, 96, rng))
    return root


def contents(root: Path) -> dict[str, bytes]:
    files = (file for file in root.rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def test_two_processes_paint_the_pairs_of_one(nuts, tmp_path, processes):
    dataset, product = read_dataset(nuts), {"kind": "object", "turns": ["mirror"]}
    config = validated(GeneratorConfig, {"product": product})
    generator = learn(dataset, config, tmp_path / "run", device="cpu")
    generator.generate(dataset.train, PAIRS, tmp_path / "alone", seed=3)
    folder = tmp_path / "run" / "generator"
    together(processes, generate_rank, dataset, folder, tmp_path / "together")
    assert [(tmp_path / f"rank {rank}").read_text() for rank in range(2)] == ["3", "2"]
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
    assert len(list((tmp_path / "together" / "test").rglob("*.png"))) == 5
