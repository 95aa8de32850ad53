"""Generating pairs takes minutes: jobs that can be watched and cancelled."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blemish.data import Dataset
from blemish.deploy.service.desk import PairDesk
from blemish.deploy.service.problems import Problem
from blemish.errors import BlemishError
from blemish.generation import Generator
from blemish.generation.manifest import Entry
from blemish.generation.reviewing import PairFolder
from blemish.runtime import logger

STATES = ("waiting", "running", "done", "failed", "cancelled")
MOST = 1000
"""Pairs of one type that one job may make."""


class _Cancelled(Exception):
    """The job was asked to end."""


@dataclass(slots=True)
class Job:
    """A run of the generator. entries: pairs that it has made so far; folder: where they lie.

    task: what waits at the desk.
    """

    id: str
    counts: Mapping[str, int]
    seed: int
    folder: Path
    state: str = "waiting"
    error: str | None = None
    entries: list[Entry] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    task: Callable[[], None] = lambda: None

    def summary(self) -> dict[str, Any]:
        """Return the job ready for JSON; once it is done, pairs that lay there before count as well."""
        total = sum(self.counts.values())
        return {
            "id": self.id,
            "state": self.state,
            "done": total if self.state == "done" else len(self.entries),
            "total": total,
            "error": self.error,
            "pairs": [
                {"label": e.label, "accepted": e.accepted, "scores": dict(e.scores)}
                for e in self.entries
            ],
        }


class Jobs:
    """Jobs in the order of their coming; one runs at a time, between what is asked for in a hurry."""

    def __init__(
        self,
        generator: Generator,
        dataset: Dataset,
        pairs: PairFolder | None,
        desk: PairDesk,
        most: int,
    ) -> None:
        """`pairs`: where all pairs go, None for a folder of its own for each job, gone at the end."""
        self.generator, self.dataset, self.desk, self.most = generator, dataset, desk, most
        self._jobs: dict[str, Job] = {}
        self._own = pairs is None
        self._root = Path(tempfile.mkdtemp(prefix="blemish-jobs-")) if pairs is None else pairs.root

    def start(self, counts: Mapping[str, int], seed: int) -> Job:
        """Return a new job that waits.

        Raises:
            ConfigError: a type was not learned.
            Problem: too many jobs wait (429), or the service is stopping (503).
        """
        for label in counts:
            self.generator.repertoire.known(label)
        name = secrets.token_urlsafe(12)
        job = Job(name, dict(counts), seed, self._root / name if self._own else self._root)
        job.task = lambda: self._run(job)
        self.desk.begin(job.task)
        self._forget()
        self._jobs[job.id] = job
        return job

    def find(self, name: str) -> Job:
        """Return a job by its id.

        Raises:
            Problem: there is none (404).
        """
        if name not in self._jobs:
            raise Problem(404, "there is no such job", "it may have been forgotten: list them")
        return self._jobs[name]

    def all(self) -> list[Job]:
        """Return the jobs that are remembered, in the order of their coming."""
        return list(self._jobs.values())

    def count(self, state: str) -> int:
        """Return how many jobs are in a state."""
        return sum(job.state == state for job in self._jobs.values())

    def cancel(self, name: str) -> Job:
        """Ask a job to end at its next pair; what it has made stays."""
        job = self.find(name)
        job.cancelled.set()
        if job.state == "waiting":
            job.state = "cancelled"
            self.desk.forget(job.task)
        return job

    def close(self) -> None:
        """Remove folders of the jobs' own."""
        if self._own:
            shutil.rmtree(self._root, ignore_errors=True)

    def _run(self, job: Job) -> None:
        if job.cancelled.is_set():
            return
        job.state = "running"

        def report(entry: Entry) -> None:
            job.entries.append(entry)
            self.desk.breathe()
            if job.cancelled.is_set() or self.desk.ending:
                raise _Cancelled

        try:
            goods = self.dataset.train
            self.generator.generate(
                goods, job.counts, job.folder, seed=job.seed, report=report, processes=1
            )
            job.state = "done"
        except _Cancelled:
            job.state = "cancelled"
        except BlemishError as error:
            job.state, job.error = "failed", str(error.args[0])
        except Exception as error:  # noqa: BLE001 - the job has failed, the service goes on
            logger.exception("job %s failed", job.id)
            job.state, job.error = "failed", type(error).__name__

    def _forget(self) -> None:
        """Forget the oldest jobs that are over."""
        over = [job for job in self._jobs.values() if job.state not in ("waiting", "running")]
        for job in over[: max(0, len(self._jobs) - self.most + 1)]:
            del self._jobs[job.id]
            if self._own:
                shutil.rmtree(job.folder, ignore_errors=True)
