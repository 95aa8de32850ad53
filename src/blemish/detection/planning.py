"""How long a detector trains, as its settings say."""

from __future__ import annotations

from blemish.config import TrainingConfig
from blemish.training import Plan


def planned(
    training: TrainingConfig,
    *,
    iterations: int | None = None,
    seconds: float | None = None,
    trackers: tuple[str, ...] = (),
) -> Plan:
    """Return the plan of a run of so many iterations, or of seconds of wall clock."""
    return Plan(
        iterations=iterations,
        seconds=seconds,
        validations=training.validations,
        patience=training.patience,
        warmup=training.warmup,
        decay=training.decay,
        clip=training.clip,
        ema=training.ema,
        checkpoint_seconds=training.checkpoint_seconds,
        trackers=trackers,
    )


def updates(training: TrainingConfig, epochs: int, photos: int) -> int:
    """Return the iterations of so many passes over the good photos, at least one."""
    return max(1, epochs * photos // (training.normals + training.defects))
