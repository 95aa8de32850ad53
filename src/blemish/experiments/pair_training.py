"""How both downstream networks learn from pairs; each adds its loss, and how it is judged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from blemish import hardware
from blemish.detection.photos import View
from blemish.experiments.training_pairs import Batch, Squares, TrainingPairs, batch_of
from blemish.records import Record
from blemish.training import Plan, Run, Task, stream

_BATCH = 8

LOOKS = 5
"""At what was held out while the learning rate falls: one of them chooses the weights."""


class Course(Protocol):
    """What both kinds of settings tell about training."""

    @property
    def iterations(self) -> int:
        """Optimiser updates."""

    @property
    def lr(self) -> float:
        """Learning rate."""

    @property
    def decay(self) -> float:
        """Share of the run over which the rate falls."""

    @property
    def precision(self) -> str:
        """Arithmetic of the network."""


class PairObjective(nn.Module):
    """A network on its device; who derives from it adds the loss on one batch."""

    def __init__(self, network: nn.Module, course: Course, device: torch.device) -> None:
        super().__init__()
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.device, self.dtype = device, hardware.precision(course.precision, device)

    def logits(self, picture: Tensor) -> Tensor:
        """Return what the network says, float32, of pictures (B, 3, S, S) in [0, 1]."""
        with hardware.autocast(self.device, self.dtype):
            shown = picture.to(self.device).contiguous(memory_format=torch.channels_last)
            found: Tensor = self.network(shown)
        return found.float()

    def answers(
        self, squares: Squares, records: Sequence[Record]
    ) -> Iterator[tuple[list[View], Batch, Tensor]]:
        """Yield some photos' squares, their batch, and the logits on the CPU, until all are seen."""
        training = self.training
        self.eval()
        for start in range(0, len(records), _BATCH):
            rows = [(squares.view(r), r.label) for r in records[start : start + _BATCH]]
            batch = batch_of(rows, ())
            with torch.inference_mode():
                found = self.logits(batch.picture()).cpu()
            yield [view for view, _ in rows], batch, found
        self.train(training)


class PairTask:
    """Trains an objective on pairs; who derives from it says how its weights are chosen."""

    module: nn.Module

    def __init__(self, module: nn.Module, pairs: TrainingPairs, course: Course) -> None:
        self.module, self.pairs, self.course = module, pairs, course

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return all that learns, in one group."""
        learning = [p for p in self.module.parameters() if p.requires_grad]
        return [{"params": learning, "lr": self.course.lr, "weight_decay": 0.0}]

    def batches(self, start: int, rank: int, world: int) -> Iterator[Sequence[Batch]]:
        """Yield the micro-batches of iteration start, start + 1, ...; one process does all."""
        del rank, world
        return stream(self.pairs, start, 0)


def plan_of(course: Course) -> Plan:
    """Return the plan of a course, with `LOOKS` validations where weights may be chosen."""
    validations = math.ceil(LOOKS / (course.decay or 1.0))
    return Plan(iterations=course.iterations, decay=course.decay, ema=0.99, validations=validations)


def fit(task: Task, course: Course, folder: Path, device: torch.device) -> None:
    """Train a task's network to the end of its course; a run that was killed goes on where it was."""
    folder.mkdir(parents=True, exist_ok=True)
    outcome = Run(task, plan_of(course), folder, cpu=device.type == "cpu").fit(resume=True)
    task.module.load_state_dict(outcome.weights, strict=False)
