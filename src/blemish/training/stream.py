"""Endless iterations from a data set whose item i is iteration i."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from typing import TypeVar

from torch.utils.data import DataLoader, Dataset

Item = TypeVar("Item")


def stream(items: Dataset[Item], start: int, workers: int) -> Iterator[Item]:
    """Yield item `start`, start + 1, ... without end; made ahead by worker processes, in order."""
    yield from DataLoader(
        items,
        batch_size=None,
        sampler=itertools.count(start),
        num_workers=workers,
        worker_init_fn=_leave_stopping_to_the_parent,
    )


def _leave_stopping_to_the_parent(_: int) -> None:
    """Go on at Ctrl-C and at a polite end, which reach a whole group of processes.

    The parent ends its iteration, saves, and then ends its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
