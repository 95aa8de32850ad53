"""Pairs made by several processes, in order; one thread each: the number of cores changes no bit."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

import torch

from blemish.errors import BlemishError, ConfigError
from blemish.runtime import end_with_parent

if TYPE_CHECKING:
    from blemish.generation.output import Made

Key = tuple[str, int]
Make = Callable[[str, int], "Made"]

_inherited: list[Make] = []


def workers(device: torch.device, asked: int | None = None) -> int:
    """Return how many processes paint: those asked for, or as many as there are cores.

    One where a graphics card paints, or the system cannot fork: there no more can be asked for.

    Raises:
        ConfigError: they are.
    """
    if device.type != "cpu" or "fork" not in multiprocessing.get_all_start_methods():
        if asked is not None and asked > 1:
            raise ConfigError(
                f"{asked} processes cannot share {device} on this system",
                hint="leave --processes out; with several graphics cards start generate with torchrun",
            )
        return 1
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))  # as torchrun tells


def produced(make: Make, keys: Sequence[Key], processes: int) -> Iterator[tuple[Key, Made]]:
    """Yield each key with what `make(*key)` gives, in order, whichever process has made it."""
    if processes == 1 or len(keys) < 2:
        for key in keys:
            yield key, make(*key)
        return
    # Forked: what `make` knows is inherited and need not travel.
    context = multiprocessing.get_context("fork")
    own = (make, os.getpid())
    with ProcessPoolExecutor(min(processes, len(keys)), context, _adopt, own) as pool:
        try:
            ahead: deque[tuple[Key, Future[Made]]] = deque()
            for key in keys:
                ahead.append((key, pool.submit(_made, key)))
                if len(ahead) > 2 * processes:  # no more are kept in memory
                    yield _finished(*ahead.popleft())
            while ahead:
                yield _finished(*ahead.popleft())
        except BrokenProcessPool as error:
            raise BlemishError(
                "a process that painted has died", hint="is there enough memory? try --processes 1"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _finished(key: Key, made: Future[Made]) -> tuple[Key, Made]:
    return key, made.result()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run the block's arithmetic in one thread: sums are then made in the same order everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _adopt(make: Make, parent: int) -> None:
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops them
    torch.set_num_threads(1)
    _inherited[:] = [make]


def _made(key: Key) -> Made:
    return _inherited[0](*key)
