"""However a global batch is shared, the same weights come out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from blemish.data import read_dataset
from blemish.detection import train
from blemish.training import Plan

PLAN = Plan(iterations=6, validations=1)
ONE_FEWER = Plan(iterations=5, validations=1)
PATIENCE = 600


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_rank(rank, world, port, dataset, config, folder):
    """Train as one of several processes, told so in the way of torchrun."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    train(dataset, config, folder, PLAN, device="cpu")
    torch.distributed.destroy_process_group()


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
    dataset, port = read_dataset(product), free_port()
    ranks = [
        processes.Process(target=run_rank, args=(rank, 2, port, dataset, tiny(), tmp_path / "run"))
        for rank in range(2)
    ]
    for rank in ranks:
        rank.start()
    try:
        for rank in ranks:
            rank.join(PATIENCE)
        assert [rank.exitcode for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    assert_same(weights(tmp_path / "run"), alone)
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2


def test_accumulated_micro_batches_give_the_weights_of_whole_batches(product, tiny, tmp_path, alone):
    parts = tiny(training={"accumulation": 2})
    train(read_dataset(product), parts, tmp_path / "run", PLAN, device="cpu")
    assert_same(weights(tmp_path / "run"), alone)
