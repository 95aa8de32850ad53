"""Threads that own a model: requests wait in front of them, in order, and not too many."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from blemish.deploy.service.problems import busy
from blemish.records import Prediction
from blemish.runtime import logger
from blemish.verdicts import Detector

Photo = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Place:
    """What is kept for one request at a desk.

    photos: that are still to come. pixels: of all its photos, kept until the request and the desk have
    let go of them. holders: the request, and each of its photos that the desk has.
    """

    photos: int
    pixels: int
    holders: int = 1


@dataclass(slots=True)
class _Waiting:
    photo: Photo
    place: Place
    reconstruct: bool
    future: Future[Prediction] = field(default_factory=Future)


class InspectionDesk:
    """One thread that shows photos to the detector, as many at once as wait, up to a batch.

    It takes what is there and never waits for more: under load batches fill by themselves. seen: called
    with the size of each batch.
    """

    def __init__(
        self,
        detector: Detector,
        batch: int,
        photos: int,
        pixels: int,
        seen: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`photos`: that may wait in all. `pixels`: of all photos that are in memory at a time."""
        self.detector, self.batch, self.photos, self.pixels = detector, batch, photos, pixels
        self._seen = seen
        self._queue: deque[_Waiting] = deque()
        self._coming = 0  # photos with a place that are not in the queue yet
        self._pixels = 0  # of all places
        self._change = threading.Condition()
        self._ending = False
        self._pace = 0.1  # seconds a photo, measured as it goes
        self._thread = threading.Thread(target=self._work, name="inspection", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def place(self, photos: int, pixels: int) -> Iterator[Place]:
        """Keep a place for a request's photos, from before they are decoded until they are answered.

        Raises:
            Problem: too much is waiting (429).
        """
        with self._change:
            waiting = len(self._queue) + self._coming
            if waiting + photos > self.photos or self._pixels + pixels > self.pixels:
                raise busy("too many photos are waiting", self.patience)
            place = Place(photos, pixels)
            self._coming += photos
            self._pixels += pixels
        try:
            yield place
        finally:
            self._let_go(place)

    def submit(
        self, photos: Sequence[Photo], place: Place, *, reconstruct: bool
    ) -> list[Future[Prediction]]:
        """Return a promise for each photo of a place: all that come, of which there may be fewer.

        Raises:
            Problem: the desk is closing (503).
        """
        with self._change:
            if self._ending:
                raise busy("the service is stopping", 5, 503)
            self._come(place)
            new = [_Waiting(photo, place, reconstruct) for photo in photos]
            place.holders += len(new)
            self._queue.extend(new)
            self._change.notify()
        return [waiting.future for waiting in new]

    def _come(self, place: Place) -> None:
        self._coming -= place.photos
        place.photos = 0

    def _let_go(self, place: Place) -> None:
        with self._change:
            place.holders -= 1
            if place.holders == 0:
                self._come(place)
                self._pixels -= place.pixels

    @property
    def waiting(self) -> int:
        """Photos that wait."""
        return len(self._queue)

    @property
    def patience(self) -> float:
        """Seconds until what waits is done, at the pace of late."""
        return len(self._queue) * self._pace

    def close(self) -> None:
        """Take no more, finish what was taken, end."""
        with self._change:
            self._ending = True
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        while self._serve():
            pass

    def _serve(self) -> bool:
        """Wait for photos and answer them, up to a batch; return False when none will come."""
        with self._change:
            self._change.wait_for(lambda: self._queue or self._ending)
            if not self._queue:
                return False
            part = [self._queue.popleft() for _ in range(min(self.batch, len(self._queue)))]
        # Whose client has gone is passed over.
        wanted = [waiting for waiting in part if waiting.future.set_running_or_notify_cancel()]
        if wanted:
            self._inspect(wanted)
        for waiting in part:
            self._let_go(waiting.place)
        return True

    def _inspect(self, part: list[_Waiting]) -> None:
        begun = time.monotonic()
        answered = 0
        try:
            verdicts = self.detector.predict_many(
                [waiting.photo for waiting in part],
                batch_size=self.batch,
                reconstruct=any(waiting.reconstruct for waiting in part),
            )
            for waiting, verdict in zip(part, verdicts, strict=True):
                waiting.future.set_result(verdict)
                answered += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on
            for waiting in part[answered:]:
                waiting.future.set_exception(error)
        pace = (time.monotonic() - begun) / len(part)
        self._pace = 0.8 * self._pace + 0.2 * pace
        self._seen(len(part))


class PairDesk:
    """One thread for all that paints pairs or writes them: nothing of it happens at the same time.

    Short tasks come before long ones, and a long one lets them in at each of its steps (`breathe`).
    """

    def __init__(self, most: int) -> None:
        """`most`: short tasks that may wait, and long ones."""
        self.most = most
        self._short: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._long: deque[Callable[[], None]] = deque()
        self._change = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="pairs", daemon=True)
        self._thread.start()

    def ask(self, task: Callable[[], Any]) -> Future[Any]:
        """Return a promise for a short task's result.

        Raises:
            Problem: too many wait (429), or the desk is closing (503).
        """
        future: Future[Any] = Future()
        with self._change:
            self._refuse(len(self._short))
            self._short.append((future, task))
            self._change.notify()
        return future

    def begin(self, task: Callable[[], None]) -> None:
        """Take a long task, which must not raise; raises as `ask` does."""
        with self._change:
            self._refuse(len(self._long))
            self._long.append(task)
            self._change.notify()

    def forget(self, task: Callable[[], None]) -> None:
        """Give the place of a long task to another, if it still waits."""
        with self._change, contextlib.suppress(ValueError):
            self._long.remove(task)

    def breathe(self) -> None:
        """Do the short tasks that wait; a long task calls this between its steps."""
        while self._short:
            future, task = self._short.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(task())
            except Exception as error:  # noqa: BLE001 - who asked is told
                future.set_exception(error)

    @property
    def ending(self) -> bool:
        """Whether long tasks should come to an end."""
        return self._ending

    def close(self) -> None:
        """Take no more, finish the short tasks, let the long one end at its next step."""
        with self._change:
            self._ending = True
            self._change.notify()
        self._thread.join()

    def _refuse(self, waiting: int) -> None:
        if self._ending:
            raise busy("the service is stopping", 5, 503)
        if waiting >= self.most:
            raise busy("too many tasks are waiting", 2)

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._short or self._long or self._ending)
                if self._ending and not self._short:
                    return
            self.breathe()
            if self._long and not self._ending:
                task = self._long.popleft()
                try:
                    task()
                except Exception:  # noqa: BLE001 - whatever it is, the thread goes on
                    logger.exception("a task of the service failed")
