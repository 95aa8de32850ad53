"""Iterations without end, whoever makes them."""

from __future__ import annotations

import itertools
import os
import signal
import time

import pytest
import torch
from torch.utils.data import Dataset

from blemish.training import stream


class Numbers(Dataset[torch.Tensor]):
    """Item i says i and which process made it; odd ones take longer."""

    def __getitem__(self, index: int) -> torch.Tensor:
        if index % 2:
            time.sleep(0.005)
        return torch.tensor([index, os.getpid()])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_items_come_from_the_start_on_in_order_and_without_end(workers):
    items = list(itertools.islice(stream(Numbers(), 5, workers), 30))
    assert [int(item[0]) for item in items] == list(range(5, 35))
    makers = {int(item[1]) for item in items}
    assert len(makers) == max(1, workers)
    assert (os.getpid() in makers) == (workers == 0)


def test_a_worker_goes_on_at_ctrl_c_which_is_for_its_parent():
    items = stream(Numbers(), 0, 1)
    worker = int(next(items)[1])
    os.kill(worker, signal.SIGINT)
    found = [next(items).tolist() for _ in range(10)]
    assert found == [[index, worker] for index in range(1, 11)]
