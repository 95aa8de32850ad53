"""What iterations and validations cost, in the seconds of this process."""

from __future__ import annotations

_SLOW, _LAP, _ROUGH = 8, 16, 3


class Pace:
    """A stopwatch of a run, in laps; the first iterations of a process are slower and not counted.

    price: of the last validation, in seconds.
    """

    def __init__(self) -> None:
        self.price = 0.0
        self._iterations = -_SLOW
        self._first = self._start = self._last = self._validating = 0.0

    @property
    def known(self) -> bool:
        """Whether this lap has enough iterations to tell."""
        return self._iterations >= _LAP

    def rough(self) -> float | None:
        """Return the mean time of iterations after the first, in the first lap; None = unknown yet."""
        made = self._iterations + _SLOW
        return (self._last - self._first) / (made - 1) if made >= _ROUGH else None

    def lap(self) -> float:
        """Return the mean time of this lap's iterations, without validations, and start another."""
        mean = (self._last - self._start - self._validating) / self._iterations
        self._iterations, self._start, self._validating = 0, self._last, 0.0
        return mean

    def iterated(self, elapsed: float) -> None:
        """Note that an iteration has ended, so many seconds after the run began."""
        self._iterations += 1
        self._last = elapsed
        if self._iterations == 1 - _SLOW:
            self._first = elapsed
        if self._iterations == 0:
            self._start, self._validating = elapsed, 0.0

    def validated(self, seconds: float) -> None:
        """Note that a validation took so many seconds."""
        self.price = seconds
        self._validating += seconds
