"""What the service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32)


class Measures:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "blemish_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "blemish_request_seconds",
            "Time to answer.",
            ["method", "route"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._batches = Histogram(
            "blemish_batch_photos", "Photos in a batch.", registry=registry, buckets=_BATCHES
        )
        self._photos = Counter("blemish_photos", "Photos inspected.", ["verdict"], registry=registry)
        self._waiting = Gauge("blemish_photos_waiting", "Photos that wait.", registry=registry)
        self._admitted = Gauge("blemish_requests_open", "Requests in progress.", registry=registry)
        self._jobs = Gauge("blemish_jobs", "Jobs by state.", ["state"], registry=registry)

    def watch(
        self,
        waiting: Callable[[], float],
        admitted: Callable[[], float],
        jobs: Callable[[str], float],
        states: tuple[str, ...],
    ) -> None:
        """Read these whenever the figures are asked for."""
        self._waiting.set_function(waiting)
        self._admitted.set_function(admitted)
        for state in states:
            self._jobs.labels(state).set_function(partial(jobs, state))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer. route: as it is declared, never a path that a client made up."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def batch(self, photos: int) -> None:
        """Count a batch."""
        self._batches.observe(photos)

    def verdict(self, *, anomalous: bool) -> None:
        """Count an inspected photo."""
        self._photos.labels("anomalous" if anomalous else "normal").inc()

    def page(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return bytes(generate_latest(self.registry))
