"""What is trained, for how long, and where a run is."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from blemish.errors import ArtifactError, BlemishError

_MOST_VALIDATING = 1 / 4
"""No larger share of a budget goes to validations, as long as one is left."""

_RISE = 1 / 10
"""The learning rate rises for no larger share of a run."""

_HASTE = 2.0
"""The steps of a short run are no more than so many times as large."""

_EARLY = 3
"""One in so many validations is made before the learning rate falls: they choose nothing."""


class Interrupted(BlemishError):
    """The run was asked to stop and has saved its state."""

    exit_code = 130


class Task(Protocol):
    """What is trained. Iteration i must see the same data whatever ran before and on how many ranks."""

    module: nn.Module
    """Called with one micro-batch; returns named scalar losses, `loss` being their total."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups, each with its own `lr`."""

    def batches(self, start: int, rank: int, world: int) -> Iterable[Sequence[Any]]:
        """Yield this rank's micro-batches of iteration start, start + 1, ... without end."""

    def validate(self) -> dict[str, float]:
        """Return validation figures; `objective` (higher = better) chooses the weights kept."""

    def sheet(self, path: Path) -> None:
        """Draw what the networks see now to a picture file."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to train and how to step.

    Give `iterations`, or `seconds` of wall clock: the number of iterations is then measured, and once
    more when the learning rate would begin to fall, kept with the run and used by a resumed run too.
    validations: into how many parts they cut the run, fewer where they would take more than a quarter
    of the seconds; those made while the learning rate falls choose the weights, if the run gets there,
    and of those before it every third is made. budget: the seconds as they were asked for, where some
    were spent before training. lr_iterations: how long a run the learning rates are meant for. decay:
    share of the run over which the learning rate falls linearly to zero. ema: decay of the averaged
    weights; snapshots: those of every validation are kept (`read_snapshots`).
    """

    iterations: int | None = None
    seconds: float | None = None
    validations: int = 10
    patience: int = 0
    warmup: int = 0
    lr_iterations: int = 0
    decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.999
    checkpoint_seconds: float = 60.0
    trackers: tuple[str, ...] = ()
    budget: float | None = None
    snapshots: bool = False

    def left(self, begun: float) -> Plan:
        """Return the plan without the seconds since `begun` (`time.monotonic`), at least one."""
        if self.seconds is None:
            return self
        left = max(1.0, self.seconds - (time.monotonic() - begun))
        return replace(self, seconds=left, budget=self.planned_seconds)

    @property
    def planned_seconds(self) -> float | None:
        """The seconds that were asked for, None where iterations were."""
        return self.budget or self.seconds

    def fitting(self, left: float, pace: float, price: float) -> tuple[int, int]:
        """Return how many more iterations of `pace` seconds, and validations of `price`, fit `left`."""
        share = self.decay + (1 - self.decay) / _EARLY if self.decay else 1.0
        affordable = int(left * _MOST_VALIDATING / (price * share)) if price > 0 else self.validations
        validations = max(1, min(self.validations, affordable))
        return _iterations(left, pace, price, math.ceil(validations * share)), validations

    def fitting_fall(self, left: float, pace: float, price: float, validations: int) -> int:
        """Return how many iterations fit from where the rate is to fall; validations: of the run."""
        return _iterations(left, pace, price, math.ceil(validations * self.decay))

    def fits_again(self, state: State) -> bool:
        """Return whether it is time to measure a second time how many iterations fit."""
        if state.total is None or state.fitted:
            return False
        return 0 < self._fall(state.iteration, state.total) < 1

    def validates(self, iteration: int, total: int, validations: int) -> bool:
        """Return whether a run of `total` iterations is validated after this one."""
        every = math.ceil(total / validations)
        if not self.settling(iteration, total):
            every *= _EARLY
        return iteration % every == 0 or iteration == total

    def settling(self, iteration: int, total: int | None) -> bool:
        """Return whether the learning rate falls; always where it never does.

        Before that, weights that validate well by chance are those of a run that has hardly begun.
        """
        return self.decay == 0 or (total is not None and self._fall(iteration, total) < 1)

    def rate(self, iteration: int, total: int) -> float:
        """Return the learning rate's factor: `rise`, then constant, then linear decay."""
        return self.rise(iteration, total) * self._fall(iteration, total)

    def rise(self, iteration: int, total: int) -> float:
        """Return the learning rate's factor before it falls (ours): linear warm-up, then constant.

        The warm-up takes a tenth of the run at most, and a run shorter than the rate is meant for
        takes larger steps: else a short one is over before it has learned (docs/lab.md).

            haste = min(2, sqrt(lr_iterations / total)),    at least 1
        """
        rising = min(self.warmup, _RISE * total)
        rise = min(1.0, (iteration + 1) / rising) if rising else 1.0
        return rise * min(_HASTE, max(1.0, math.sqrt(self.lr_iterations / total)))

    def refuse_other(self, state: State, folder: Path) -> None:
        """Stop where a run is resumed that was planned for another time.

        Raises:
            ArtifactError: it was; also where it has ended, and more was asked for now.
        """
        planned, asked = (
            f"{total} iterations" if budget is None else f"{budget:g} seconds"
            for total, budget in ((state.total, state.budget), (self.iterations, self.planned_seconds))
        )
        if state.iteration > 0 and planned != asked:
            raise ArtifactError(
                f"{folder} holds a run that was planned for {planned}, not {asked}",
                hint="resume with what it was planned for, or start another run in another folder",
            )

    def _fall(self, iteration: int, total: int) -> float:
        falling = self.decay * total
        return min(1.0, (total - iteration) / falling) if falling else 1.0


@dataclass(frozen=True, slots=True)
class State:
    """Where a run is: everything but the tensors.

    validations: how many fit a budget of seconds. fitted: whether `total` was measured a second time.
    """

    iteration: int = 0
    total: int | None = None
    elapsed: float = 0.0
    best: float = -math.inf
    best_iteration: int = 0
    stale: int = 0
    budget: float | None = None
    validations: int | None = None
    fitted: bool = False
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run leaves: the chosen averaged weights and how they were found."""

    weights: dict[str, Tensor]
    state: State


def _iterations(left: float, pace: float, price: float, validations: int) -> int:
    """Return how many iterations fit beside validations, with room for one more; at least one."""
    return max(1, int((left - price * (validations + 1)) / pace))
