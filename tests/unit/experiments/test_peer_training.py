from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blemish.experiments import peer_training
from blemish.experiments.peer_training import Pace, Trained


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    hand = Clock()
    monkeypatch.setattr(peer_training, "time", hand)
    return hand


def trainer_of(schedule: Any, epochs: int, batches: int) -> Any:
    """Return what a Pace needs of Lightning's trainer."""
    strategy = SimpleNamespace(lr_scheduler_configs=[SimpleNamespace(scheduler=schedule)])
    return SimpleNamespace(
        strategy=strategy,
        max_epochs=epochs,
        num_training_batches=batches,
        current_epoch=0,
        should_stop=False,
    )


def schedule_of(milestone: int) -> Any:
    """Return a schedule from a rate of 1 to 0.1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [milestone], gamma=0.1)
    optimizer.step()
    return schedule


def rates(pace: Pace, trainer: Any, schedule: Any, clock: Clock, pause: float) -> list[float]:
    """Return the learning rate after each update, until training is over."""
    pace.begin(trainer, None)
    found = []
    while not trainer.should_stop and len(found) < trainer.max_epochs * trainer.num_training_batches:
        clock.now += pause
        pace.after_update(trainer, SimpleNamespace())
        found.append(schedule.get_last_lr()[0])
    return found


def test_a_budget_sees_the_same_shares_of_each_rate_as_a_whole_course(clock: Clock) -> None:
    schedule = schedule_of(milestone=80)
    trainer = trainer_of(schedule, epochs=100, batches=5)
    found = rates(Pace(0.0, 10.0, by_updates=False), trainer, schedule, clock, pause=1.0)
    assert found == pytest.approx([1.0] * 7 + [0.1] * 3)
    assert trainer.should_stop


def test_without_a_hurry_the_course_is_the_authors(clock: Clock) -> None:
    schedule = schedule_of(milestone=3)
    trainer = trainer_of(schedule, epochs=4, batches=2)
    found = rates(Pace(0.0, 1000.0, by_updates=False), trainer, schedule, clock, pause=1.0)
    assert found == pytest.approx([1.0] * 5 + [0.1] * 3)
    assert not trainer.should_stop


def test_a_schedule_may_count_updates(clock: Clock) -> None:
    schedule = schedule_of(milestone=7)
    trainer = trainer_of(schedule, epochs=4, batches=2)
    found = rates(Pace(0.0, 1000.0, by_updates=True), trainer, schedule, clock, pause=1.0)
    assert found == pytest.approx([1.0] * 6 + [0.1] * 2)


def test_training_stops_where_another_update_would_not_fit(clock: Clock) -> None:
    schedule = schedule_of(milestone=1000)
    trainer = trainer_of(schedule, epochs=100, batches=5)
    clock.now = 2.0  # reading the photos took so long
    rates(pace := Pace(0.0, 10.0, by_updates=False), trainer, schedule, clock, pause=3.0)
    assert pace.updates == 2
    assert clock.now == 8.0


def test_dsr_gets_its_last_part_within_the_budget(clock: Clock) -> None:
    schedule = schedule_of(milestone=1000)
    trainer = trainer_of(schedule, epochs=100, batches=5)
    module = SimpleNamespace(upsampling_train_ratio=0.7, second_phase=70)
    pace = Pace(0.0, 10.0, by_updates=False)
    pace.begin(trainer, module)
    found = []
    for _ in range(9):
        clock.now += 1.0
        pace.after_update(trainer, module)
        found.append(module.second_phase)
    assert found == [70] * 6 + [0] * 3


class Brightest(nn.Module):
    """A network of half the resolution: its map is the mean over channels, its score the maximum."""

    def forward(self, picture: Tensor) -> Any:
        small = nn.functional.avg_pool2d(picture, 2).mean(1)
        return SimpleNamespace(anomaly_map=small, pred_score=small.amax((1, 2)))


def test_a_photo_gets_a_map_of_its_own_size_and_the_networks_score() -> None:
    photo = np.zeros((8, 12, 3), np.uint8)
    photo[:, 6:] = 255
    found = Trained(Brightest(), lambda picture: picture, torch.device("cpu"))(photo)
    assert found.map.dtype == np.float32
    assert found.map.shape == (8, 12)
    assert found.score == 1.0
    assert found.map[:, :5] == pytest.approx(0)
    assert found.map[:, 7:] == pytest.approx(1)
    assert found.seconds >= 0
