"""How long a detector trains, and how it steps."""

from __future__ import annotations

from dataclasses import dataclass

from blemish.config import TrainingConfig
from blemish.training import Plan


@dataclass(frozen=True, slots=True)
class Length:
    """How long a detector trains: iterations, epochs (passes over the good photos), or seconds."""

    iterations: int | None = None
    epochs: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        """Say it in words, such as 900 iterations."""
        lengths = {"iterations": self.iterations, "epochs": self.epochs, "seconds": self.seconds}
        return " or ".join(f"{value:g} {unit}" for unit, value in lengths.items() if value is not None)

    def plan(self, training: TrainingConfig, photos: int, *, trackers: tuple[str, ...] = ()) -> Plan:
        """Return the plan of a run on so many good photos; of one iteration at least."""
        iterations = self.iterations
        if self.epochs is not None:
            iterations = max(1, self.epochs * photos // (training.normals + training.defects))
        return Plan(
            iterations=iterations,
            seconds=self.seconds,
            validations=training.validations,
            patience=training.patience,
            warmup=training.warmup,
            lr_iterations=training.lr_iterations,
            decay=training.decay,
            clip=training.clip,
            ema=training.ema,
            checkpoint_seconds=training.checkpoint_seconds,
            trackers=trackers,
        )
