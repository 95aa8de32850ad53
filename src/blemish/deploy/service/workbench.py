"""Everything that a service holds: models, folders, the threads that own them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from blemish.deploy.service.desk import InspectionDesk, PairDesk, Photo, Place
from blemish.deploy.service.jobs import STATES, Jobs
from blemish.deploy.service.measures import Measures
from blemish.deploy.service.problems import Problem, busy
from blemish.deploy.service.settings import ServiceSettings
from blemish.generation.reviewing import PairFolder
from blemish.records import Prediction
from blemish.verdicts import Detector

if TYPE_CHECKING:
    from blemish.data import Dataset
    from blemish.generation import Generator

_Found = TypeVar("_Found")
_TASKS = 16


class Workbench:
    """What the routes work with.

    name, generator_name: what clients call the models. dataset: whose good photos are painted on;
    pairs: the folder to review and to keep paintings in; reports: a folder with report pages.
    """

    def __init__(
        self,
        detector: Detector,
        settings: ServiceSettings,
        *,
        name: str = "detector",
        generator: Generator | None = None,
        generator_name: str = "generator",
        dataset: Dataset | None = None,
        pairs: Path | None = None,
        reports: Path | None = None,
    ) -> None:
        self.detector, self.settings, self.name = detector, settings, name
        self.generator, self.generator_name = generator, generator_name
        self.dataset, self.reports = dataset, reports
        self.pairs = None if pairs is None else PairFolder(pairs)
        self.measures = Measures()
        self.inspection = InspectionDesk(
            detector, settings.batch, settings.queue, settings.pixels, self.measures.batch
        )
        self.desk = PairDesk(_TASKS)
        self.jobs: Jobs | None = None
        if generator is not None and dataset is not None:
            self.jobs = Jobs(generator, dataset, self.pairs, self.desk, settings.jobs)

    def watch(self, admitted: Any) -> None:
        """Let the figures show what waits."""

        def jobs(state: str) -> float:
            return 0 if self.jobs is None else self.jobs.count(state)

        self.measures.watch(lambda: self.inspection.waiting, admitted, jobs, STATES)

    async def inspected(
        self, photos: Sequence[Photo], place: Place, threshold: float | None, *, reconstruct: bool
    ) -> list[Prediction]:
        """Return the verdicts on photos for which the inspection desk has kept a place.

        threshold: another one than the detector's, None for that.

        Raises:
            Problem: it took too long, or the service is stopping (503).
        """
        promises = self.inspection.submit(photos, place, reconstruct=reconstruct)
        found = await self._kept(promises)
        if threshold is not None:
            found = [replace(verdict, threshold=threshold) for verdict in found]
        for verdict in found:
            self.measures.verdict(anomalous=verdict.anomalous)
        return found

    async def asked(self, promise: Future[_Found]) -> _Found:
        """Return what a short task of the pair desk gives.

        Raises:
            Problem: it took too long (503).
        """
        (found,) = await self._kept([promise])
        return found

    async def _kept(self, promises: Sequence[Future[_Found]]) -> list[_Found]:
        """Return what was promised; what is not there in time, or has lost its client, is dropped."""
        try:
            async with asyncio.timeout(self.settings.timeout):  # for all of them together
                return [await asyncio.wrap_future(promise) for promise in promises]
        except TimeoutError as error:
            raise busy("the answer took too long", self.inspection.patience, 503) from error
        finally:
            for promise in promises:
                promise.cancel()  # does nothing to one that is kept

    def needed(self, part: _Found | None, option: str) -> _Found:
        """Return a part of the workbench that may be missing.

        Raises:
            Problem: it is missing (404).
        """
        if part is None:
            raise Problem(404, f"this service was started without {option}", f"give it {option}")
        return part

    def close(self) -> None:
        """Finish what was taken and end the threads."""
        self.inspection.close()
        self.desk.close()
        if self.jobs is not None:
            self.jobs.close()
