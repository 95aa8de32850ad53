from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from blemish.errors import ArtifactError, BlemishError, DependencyError
from blemish.randomness import generator
from blemish.training import (
    CHECKPOINT,
    LOG,
    Interrupted,
    Outcome,
    Plan,
    Run,
    read_snapshots,
    trackers,
)
from blemish.training import plan as planning
from blemish.training import run as loop

RATE = 0.05


class CrashError(Exception):
    """The power went."""


class Line(nn.Module):
    """Fits a plane to four points a batch."""

    def __init__(self, inputs: int = 3) -> None:
        super().__init__()
        self.fit = nn.Linear(inputs, 1)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("seen", torch.zeros(()))
        nn.init.zeros_(self.fit.weight)
        nn.init.zeros_(self.fit.bias)

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        points, heights = batch
        if self.training:
            self.seen += 1
        loss = (self.fit(points)[:, 0] - heights).square().mean()
        return {"loss": loss, "twice": 2 * loss}


class Toy:
    """A task whose every part can be watched or scripted."""

    def __init__(
        self,
        *,
        before: Callable[[int], None] = lambda _: None,
        objectives: Sequence[float] | None = None,
        parts: int = 1,
        inputs: int = 3,
    ) -> None:
        self.module = Line(inputs)
        self.before, self.parts = before, parts
        self.script = iter(objectives) if objectives is not None else None
        self.live: list[Tensor] = []
        self.averaged: list[Tensor] = []
        self.sheets: list[Path] = []

    def parameter_groups(self) -> list[dict]:
        return [{"params": list(self.module.fit.parameters()), "lr": RATE, "weight_decay": 0.0}]

    def batches(self, start: int, *_: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
        iteration = start
        while True:
            self.before(iteration)
            self.live.append(self.module.fit.weight.detach().clone())
            points = torch.randn(4, 3, generator=generator(0, "points", iteration))
            heights = points @ torch.tensor([1.0, -2.0, 0.5]) + 0.3
            yield list(zip(points.chunk(self.parts), heights.chunk(self.parts), strict=True))
            iteration += 1

    def validate(self) -> dict[str, float]:
        self.averaged.append(self.module.fit.weight.detach().clone())
        error = (self.module.fit.weight.detach() - torch.tensor([1.0, -2.0, 0.5])).square().sum()
        return {"objective": -error.item() if self.script is None else next(self.script)}

    def sheet(self, path: Path) -> None:
        self.sheets.append(path)


def crash_at(iteration: int) -> Callable[[int], None]:
    def before(now: int) -> None:
        if now == iteration:
            raise CrashError

    return before


def start(folder: Path, task: Toy | None = None, **plan: object) -> Run:
    folder.mkdir(exist_ok=True)
    chosen = {"iterations": 20, "validations": 4} | plan
    return Run(task or Toy(), Plan(**chosen), folder, cpu=True)


def log(folder: Path, *, seconds: bool = False) -> list[dict]:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return lines if seconds else [{k: v for k, v in x.items() if k != "seconds"} for x in lines]


def same(run: Run, outcome: Outcome, other: Run, expected: Outcome) -> bool:
    """Whether two finished runs have the same weights, live, averaged and chosen, bit for bit."""
    pairs = [
        (run.bare.state_dict(), other.bare.state_dict()),
        (run.ema, other.ema),
        (outcome.weights, expected.weights),
    ]
    return all(torch.equal(a[name], b[name]) for a, b in pairs for name in a | b)


def test_the_rate_rises_stays_and_falls_as_computed_by_hand():
    plan = Plan(iterations=20, warmup=2, decay=0.25)
    rates = [plan.rate(iteration, 20) for iteration in range(20)]
    assert rates == pytest.approx([0.5] + [1] * 15 + [0.8, 0.6, 0.4, 0.2])


def test_the_rate_rises_for_a_tenth_of_a_short_run_only():
    plan = Plan(warmup=50)
    assert [plan.rate(iteration, 30) for iteration in range(4)] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert plan.rate(24, 500) == plan.rate(24, 10**6) == 0.5


def test_a_run_shorter_than_the_rate_is_meant_for_takes_larger_steps():
    plan = Plan(lr_iterations=400)
    assert [plan.rate(0, total) for total in (10, 100, 256, 400, 900)] == [2, 2, 1.25, 1, 1]


def test_without_warmup_and_decay_the_rate_stays_whole():
    assert {Plan(iterations=9).rate(iteration, 9) for iteration in range(9)} == {1.0}


def test_the_rate_reaches_the_optimiser(tmp_path):
    seen = []
    run = start(tmp_path, iterations=20, warmup=2, decay=0.25)
    run.optimizer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"] / RATE)
    )
    run.fit()
    assert seen == pytest.approx([0.5] + [1] * 15 + [0.8, 0.6, 0.4, 0.2])


def test_training_fits_the_plane(tmp_path):
    outcome = start(tmp_path, iterations=300, decay=0.5, ema=0.9).fit()
    torch.testing.assert_close(
        outcome.weights["fit.weight"], torch.tensor([[1.0, -2.0, 0.5]]), rtol=0, atol=0.02
    )
    assert outcome.state.stopped == "plan finished"


def test_gradients_are_clipped_to_the_norm_asked_for(tmp_path):
    norms = []
    run = start(tmp_path, iterations=5, clip=0.1)
    run.optimizer.optimizer.register_step_pre_hook(
        lambda *_: norms.append(
            float(torch.cat([p.grad.flatten() for p in run.bare.fit.parameters()]).norm())
        )
    )
    run.fit()
    assert norms == pytest.approx(5 * [0.1], rel=1e-3)


def test_averaged_weights_follow_the_live_ones_as_computed_by_hand(tmp_path):
    task = Toy()
    run = start(tmp_path, task, iterations=12, validations=12, ema=0.5)
    run.fit()
    live = [*task.live[1:12], run.bare.fit.weight.detach()]
    average = torch.zeros(1, 3)
    for iteration, weight in enumerate(live):
        decay = min(0.5, (1 + iteration) / (10 + iteration))
        average = decay * average + (1 - decay) * weight
        torch.testing.assert_close(task.averaged[iteration], average)


def test_validation_sees_the_averaged_weights_and_training_goes_on_with_the_live_ones(tmp_path):
    watched, unwatched = Toy(), Toy()
    start(tmp_path / "a", watched, validations=20).fit()
    start(tmp_path / "b", unwatched, validations=1).fit()
    assert all(torch.equal(a, b) for a, b in zip(watched.live, unwatched.live, strict=True))
    assert not torch.equal(watched.averaged[5], watched.live[6])


def test_only_what_learns_is_averaged_and_chosen(tmp_path):
    run = start(tmp_path)
    outcome = run.fit()
    assert set(outcome.weights) == {"fit.weight", "fit.bias", "seen"}
    assert float(run.bare.seen) == 20


def test_micro_batches_make_the_update_of_their_whole_batch(tmp_path):
    # Adam forgives a gradient of the wrong length, so the gradients are compared themselves.
    gradients: dict[str, list[Tensor]] = {"whole": [], "parts": []}
    for name, parts in (("whole", 1), ("parts", 4)):
        run = start(tmp_path / name, Toy(parts=parts), clip=1e9)
        run.optimizer.optimizer.register_step_pre_hook(
            lambda *_, run=run, name=name: gradients[name].append(run.bare.fit.weight.grad.clone())
        )
        run.fit()
    torch.testing.assert_close(gradients["parts"], gradients["whole"])
    assert log(tmp_path / "parts")[-2]["twice"] == pytest.approx(log(tmp_path / "whole")[-2]["twice"])


def test_the_weights_that_validated_best_are_kept(tmp_path):
    task = Toy(objectives=[1.0, 3.0, 2.0, 3.0])
    outcome = start(tmp_path, task).fit()
    assert torch.equal(outcome.weights["fit.weight"], task.averaged[1])
    assert (outcome.state.best, outcome.state.best_iteration) == (3.0, 10)


def test_the_averaged_weights_of_every_validation_are_kept_where_they_are_asked_for(tmp_path):
    task = Toy()
    start(tmp_path / "kept", task, snapshots=True).fit()
    found = list(read_snapshots(tmp_path / "kept"))
    assert [iteration for iteration, _ in found] == validated(tmp_path / "kept")
    assert len(found) == len(task.averaged) > 1
    for (_, weights), expected in zip(found, task.averaged, strict=True):
        assert torch.equal(weights["fit.weight"], expected)
    start(tmp_path / "plain").fit()
    assert not list(read_snapshots(tmp_path / "plain"))


def validated(folder: Path) -> list[int]:
    return [line["iteration"] for line in log(folder) if line["event"] == "validation"]


@pytest.mark.parametrize(("decay", "chosen"), [(0.0, 5), (0.5, 15), (0.25, 20), (1.0, 5)])
def test_weights_are_chosen_while_the_learning_rate_falls(tmp_path, decay, chosen):
    task = Toy(objectives=[4.0, 3.0, 2.0, 1.0])
    outcome = start(tmp_path, task, decay=decay).fit()
    assert outcome.state.best_iteration == chosen
    kept = task.averaged[validated(tmp_path).index(chosen)]
    assert torch.equal(outcome.weights["fit.weight"], kept)


@pytest.mark.parametrize(
    ("decay", "iterations"),
    [
        (0.0, [5, 10, 15, 20, 25, 30, 35, 40]),
        (0.25, [15, 30, 35, 40]),
        (0.5, [15, 25, 30, 35, 40]),
        (1.0, [5, 10, 15, 20, 25, 30, 35, 40]),
    ],
)
def test_one_validation_in_three_is_made_before_the_learning_rate_falls(tmp_path, decay, iterations):
    start(tmp_path, Toy(), iterations=40, validations=8, decay=decay).fit()
    assert validated(tmp_path) == iterations


def test_training_stops_when_validation_makes_no_progress(tmp_path):
    task = Toy(objectives=[1.0, 2.0, 2.0, 1.5, 9.0])
    outcome = start(tmp_path, task, iterations=50, validations=10, patience=2).fit()
    assert outcome.state.stopped == "no progress in validation"
    assert outcome.state.iteration == 20
    assert outcome.state.best_iteration == 10


def test_a_run_that_stopped_for_lack_of_progress_stays_stopped_when_resumed(tmp_path):
    plan = {"iterations": 50, "validations": 10, "patience": 2}
    outcome = start(tmp_path, Toy(objectives=[3.0, 2.0, 2.0]), **plan).fit()
    again = start(tmp_path, Toy(objectives=[9.0]), **plan).fit(resume=True)
    assert again.state.stopped == outcome.state.stopped
    assert again.state == outcome.state
    assert torch.equal(again.weights["fit.weight"], outcome.weights["fit.weight"])


def test_progress_is_validated_and_drawn_as_often_as_planned(tmp_path):
    task = Toy()
    start(tmp_path, task, iterations=20, validations=4).fit()
    assert [path.name for path in task.sheets] == [f"{i:07d}.png" for i in (5, 10, 15, 20)]
    events = [(line["iteration"], line["event"]) for line in log(tmp_path)]
    assert events == [
        (5, "validation"),
        (10, "train"),
        (10, "validation"),
        (15, "validation"),
        (20, "train"),
        (20, "validation"),
    ]


class Clock:
    """Time that passes only when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=found.monotonic))
    return found


class Timed(Toy):
    """A task whose iterations and validations cost known times."""

    def __init__(self, clock: Clock, cost: Callable[[int], float], validation: float = 5.0) -> None:
        super().__init__(before=lambda iteration: clock.spend(cost(iteration)))
        self.clock, self.validation = clock, validation

    def validate(self) -> dict[str, float]:
        self.clock.spend(self.validation)
        return super().validate()


def test_a_budget_fixes_the_number_of_iterations_from_pace_and_price(tmp_path, clock):
    # 24 iterations of 1 s to measure with, then room for 3 validations of 5 s and 2 to spare.
    run = start(tmp_path, Timed(clock, lambda _: 1.0), iterations=None, seconds=100.0, validations=3)
    outcome = run.fit()
    assert outcome.state.total == outcome.state.iteration == 24 + (100 - 24 - 5 * 5)
    assert outcome.state.stopped == "plan finished"
    assert clock.now <= 100


@pytest.mark.parametrize(
    ("price", "decay", "validations", "iterations"),
    [
        (0.5, 0.0, 10, 70),
        (5.0, 0.0, 3, 51),
        (20.0, 0.0, 1, 16),
        (60.0, 0.0, 1, 1),
        (5.0, 0.5, 5, 51),
        (5.0, 0.25, 7, 51),
        (20.0, 0.5, 1, 16),
    ],
)
def test_validations_take_at_most_a_quarter_of_a_budget(
    tmp_path, clock, price, decay, validations, iterations
):
    task = Timed(clock, lambda _: 1.0, validation=price)
    plan = {"iterations": None, "seconds": 100.0, "validations": 10, "decay": decay}
    state = start(tmp_path, task, **plan).fit().state
    assert state.validations == validations
    assert state.total == state.iteration == 24 + iterations
    made = validated(tmp_path)
    assert len(set(made) - {24}) <= validations
    assert made[-1] == state.total
    assert clock.now <= 100 or price == 60


def test_the_slow_first_iterations_do_not_count_in_the_pace(tmp_path, clock):
    task = Timed(clock, lambda iteration: 9.0 if iteration < 8 else 1.0, validation=0.0)
    outcome = start(tmp_path, task, iterations=None, seconds=200.0).fit()
    assert outcome.state.total == 24 + (200 - 8 * 9 - 16)


def test_the_rate_of_a_budget_rises_by_a_guess_until_it_is_fitted(tmp_path, clock):
    # After a first iteration of 20 s and two of 1 s: 3 + (80 - 22) iterations.
    task = Timed(clock, lambda iteration: 1.0 if iteration else 20.0, validation=0.0)
    run, seen = start(tmp_path, task, iterations=None, seconds=80.0, warmup=40, decay=0.5), []
    run.optimizer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"] / RATE)
    )
    total = run.fit().state.total
    assert total == 61
    assert seen[:3] == pytest.approx([1 / 40, 2 / 40, 3 / 40])
    assert seen[3:7] == pytest.approx([4 / 6.1, 5 / 6.1, 6 / 6.1, 1])
    assert seen[24:] == pytest.approx([run.plan.rate(i, total) for i in range(24, total)])


@pytest.mark.parametrize(("later", "iterations"), [(0.5, 176), (1.0, 100), (2.0, 62)])
def test_a_run_that_finds_another_pace_still_ends_with_its_budget(tmp_path, clock, later, iterations):
    # Planned for 100 iterations at 1 s. The rate is to fall after 51, of which 27 took another time.
    task = Timed(clock, lambda iteration: 1.0 if iteration < 24 else later, validation=0.0)
    plan = {"iterations": None, "seconds": 100.0, "validations": 2, "decay": 0.5}
    state = start(tmp_path, task, **plan).fit().state
    assert state.stopped == "plan finished"
    assert state.iteration == state.total == iterations == 24 + 76 / later
    assert clock.now == 100


def test_a_run_that_gets_slower_stops_when_its_budget_is_spent(tmp_path, clock):
    task = Timed(clock, lambda iteration: 1.0 if iteration < 30 else 10.0, validation=0.0)
    outcome = start(tmp_path, task, iterations=None, seconds=100.0).fit()
    assert outcome.state.stopped == "budget spent"
    assert outcome.state.iteration == 30 + 7
    assert log(tmp_path)[-1]["event"] == "validation"


def test_a_resumed_run_keeps_its_number_of_iterations_and_the_time_it_spent(tmp_path, clock):
    plan = {"iterations": None, "seconds": 100.0, "checkpoint_seconds": 0.5}
    task = Timed(clock, lambda _: 1.0, validation=0.0)
    task.before = lambda i: crash_at(40)(i) or clock.spend(1.0)
    with pytest.raises(CrashError):
        start(tmp_path, task, **plan).fit()
    state = start(tmp_path, Timed(clock, lambda _: 0.1, validation=0.0), **plan).fit(resume=True).state
    assert state.iteration == state.total == 100
    assert state.elapsed == pytest.approx(40 + 60 * 0.1, abs=1.01)


def test_a_run_is_not_resumed_to_another_number_of_iterations(tmp_path):
    with pytest.raises(CrashError):
        start(tmp_path, Toy(before=crash_at(12)), checkpoint_seconds=0.0).fit()
    with pytest.raises(ArtifactError, match="planned for 20 iterations, not 30"):
        start(tmp_path, iterations=30).fit(resume=True)


@pytest.mark.parametrize(
    ("first", "later", "words"),
    [
        ({}, {"iterations": 30}, "planned for 20 iterations, not 30 iterations"),
        ({}, {"iterations": None, "seconds": 60.0}, "planned for 20 iterations, not 60 seconds"),
        (
            {"iterations": None, "seconds": 100.0},
            {"iterations": None, "seconds": 200.0},
            "planned for 100 seconds, not 200 seconds",
        ),
    ],
)
def test_a_finished_run_is_not_taken_for_a_longer_one(tmp_path, clock, first, later, words):
    start(tmp_path, Timed(clock, lambda _: 1.0), **first).fit()
    with pytest.raises(ArtifactError, match=words):
        start(tmp_path, Timed(clock, lambda _: 1.0), **later).fit(resume=True)


def test_a_budget_is_the_same_however_long_its_preparations_took(tmp_path, clock, monkeypatch):
    def plan(spent: float) -> Plan:
        monkeypatch.setattr(planning, "time", SimpleNamespace(monotonic=lambda: spent))
        return Plan(seconds=100.0, validations=3).left(begun=0.0)

    first = Run(Timed(clock, lambda _: 1.0), plan(3.0), tmp_path, cpu=True).fit()
    again = Run(Timed(clock, lambda _: 1.0), plan(7.0), tmp_path, cpu=True).fit(resume=True)
    assert again.state == first.state
    assert again.state.budget == 100.0


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    (tmp_path / ".checkpoint.safetensors.abc.tmp").write_bytes(b"half")
    for folder in ("sheets", ".detector.abc.tmp"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".file.def.tmp").write_bytes(b"half")
    start(tmp_path).fit()
    assert not list(tmp_path.rglob(".*"))


def test_two_programs_do_not_train_in_one_folder(tmp_path, written_elsewhere):
    start(tmp_path).fit()
    half = tmp_path / f".{CHECKPOINT}.half.tmp"  # what the other one is writing
    half.touch()
    with written_elsewhere(tmp_path), pytest.raises(ArtifactError, match="another program"):
        start(tmp_path).fit(resume=True)
    assert half.exists()
    start(tmp_path).fit(resume=True)
    assert not half.exists()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Outcome, Path]:
    folder = tmp_path_factory.mktemp("run")
    run = start(folder, warmup=3, decay=0.5)
    return run, run.fit(), folder


@pytest.mark.parametrize("crash", [1, 5, 7, 10, 19])
def test_a_crashed_run_resumes_to_the_same_end_bit_for_bit(tmp_path, uninterrupted, crash):
    expected_run, expected, folder = uninterrupted
    plan = {"warmup": 3, "decay": 0.5, "checkpoint_seconds": -1.0}
    with pytest.raises(CrashError):
        start(tmp_path, Toy(before=crash_at(crash)), **plan).fit()
    run = start(tmp_path, **plan)
    assert same(run, run.fit(resume=True), expected_run, expected)
    assert log(tmp_path) == log(folder)


def test_what_was_logged_after_the_last_checkpoint_is_logged_once(tmp_path, uninterrupted):
    expected_run, expected, folder = uninterrupted
    plan = {"warmup": 3, "decay": 0.5}

    def terminate(iteration: int) -> None:
        if iteration == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped at iteration 8"):
        start(tmp_path, Toy(before=terminate), **plan).fit()
    with pytest.raises(CrashError):
        start(tmp_path, Toy(before=crash_at(17)), **plan).fit(resume=True)
    assert log(tmp_path)[-1]["iteration"] == 15
    with (tmp_path / LOG).open("a") as file:
        file.write('{"iteration": 16, "event": "tr')
    run = start(tmp_path, **plan)
    assert same(run, run.fit(resume=True), expected_run, expected)
    assert log(tmp_path) == log(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_after_its_iteration_with_the_state_saved(tmp_path, number):
    def interrupt(iteration: int) -> None:
        if iteration == 7:
            os.kill(os.getpid(), number)

    previous = signal.getsignal(number)
    with pytest.raises(Interrupted, match="go on with --resume"):
        start(tmp_path, Toy(before=interrupt)).fit()
    assert signal.getsignal(number) is previous
    assert json.loads((tmp_path / "progress.json").read_text())["iteration"] == 8


def test_finished_runs_resume_to_what_they_are(tmp_path):
    run = start(tmp_path)
    expected = run.fit()
    again = start(tmp_path)
    outcome = again.fit(resume=True)
    assert same(again, outcome, run, expected)
    assert outcome.state == expected.state


def test_resuming_where_nothing_was_saved_starts_at_the_beginning(tmp_path, uninterrupted):
    expected_run, expected, _ = uninterrupted
    run = start(tmp_path, warmup=3, decay=0.5)
    assert same(run, run.fit(resume=True), expected_run, expected)


def test_a_run_is_never_started_over_another(tmp_path):
    start(tmp_path).fit()
    with pytest.raises(ArtifactError, match="add --resume"):
        start(tmp_path).fit()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    start(tmp_path).fit()
    with pytest.raises(ArtifactError, match="belongs to another model"):
        start(tmp_path, Toy(inputs=4)).fit(resume=True)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    start(tmp_path).fit()
    (tmp_path / CHECKPOINT).write_bytes(b"no such thing")
    with pytest.raises(ArtifactError, match="cannot be read"):
        start(tmp_path).fit(resume=True)


def test_a_run_leaves_no_temporary_files(tmp_path):
    start(tmp_path, checkpoint_seconds=-1.0).fit()
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, LOG, "progress.json"}


def test_a_run_without_any_finite_objective_keeps_its_first_weights_and_says_so(tmp_path):
    outcome = start(tmp_path, Toy(objectives=4 * [float("nan")])).fit()
    assert torch.equal(outcome.weights["fit.weight"], torch.zeros(1, 3))
    lines = (tmp_path / LOG).read_text().splitlines()

    def refuse(name: str) -> None:
        raise AssertionError(name)

    for line in lines:
        json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize("plan", [{"iterations": None}, {"seconds": 5.0}])
def test_a_plan_has_either_iterations_or_seconds(tmp_path, plan):
    with pytest.raises(BlemishError, match="either a number of iterations or a budget"):
        start(tmp_path, **plan)


def test_an_unknown_tracker_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(DependencyError, match="tensorboard, mlflow, wandb"):
        start(tmp_path, trackers=("notebook",))


def test_a_tracker_that_is_not_installed_is_said_with_the_way_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(DependencyError, match=r"pip install 'blemish\[trackers\]'"):
        start(tmp_path, trackers=("tensorboard",))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_writes_its_events_into_the_run_folder(tmp_path):
    start(tmp_path, trackers=("tensorboard",)).fit()
    (events,) = (tmp_path / tmp_path.name).glob("events.out.tfevents.*")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(events.parent))
    accumulator.Reload()
    points = [(point.step, point.value) for point in accumulator.Scalars("loss")]
    expected = [(x["iteration"], x["loss"]) for x in log(tmp_path) if x["event"] == "train"]
    assert points == [(step, pytest.approx(value)) for step, value in expected]
