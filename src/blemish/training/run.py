"""The loop: mixed precision, clipping, averaging, selection, budget, exact resume."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from tqdm import tqdm

from blemish import hardware
from blemish.errors import ArtifactError, BlemishError
from blemish.runtime import alone, atomic_write, logger
from blemish.training.checkpoint import (
    CHECKPOINT,
    finite,
    read_checkpoint,
    write_checkpoint,
    write_snapshot,
)
from blemish.training.pace import Pace
from blemish.training.plan import Interrupted, Outcome, Plan, State, Task
from blemish.training.trackers import refuse_missing

LOG = "log.jsonl"


class Run:
    """A training run in a folder that can be killed at any moment and resumed to the same end."""

    def __init__(self, task: Task, plan: Plan, folder: Path, *, cpu: bool = False) -> None:
        if (plan.iterations is None) == (plan.seconds is None):
            raise BlemishError("give either a number of iterations or a budget of seconds")
        refuse_missing(plan.trackers)
        self.task, self.plan, self.folder = task, plan, folder
        hardware.processes(cpu=cpu)
        self.accelerator = Accelerator(
            cpu=cpu, log_with=list(plan.trackers) or None, project_dir=str(folder)
        )
        if self.accelerator.num_processes > 1 and self.accelerator.device.type == "cuda":
            synced = nn.SyncBatchNorm.convert_sync_batchnorm(task.module)  # type: ignore[no-untyped-call]
            task.module = synced
        task.module.to(self.accelerator.device)
        optimizer = torch.optim.AdamW(task.parameter_groups())
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.module, self.optimizer = self.accelerator.prepare(task.module, optimizer)
        self.bare = self.accelerator.unwrap_model(self.module)
        self.ema = {name: value.detach().clone() for name, value in self._learned().items()}
        self.chosen = {name: value.clone() for name, value in self.ema.items()}
        self.state = State()
        self.pace = Pace()
        self._stop_requested = False
        self._validated = 0

    def _learned(self) -> dict[str, Tensor]:
        """Return what training changes: parameters that learn, and floating-point statistics."""
        frozen = {n for n, p in self.bare.named_parameters() if not p.requires_grad}
        state = self.bare.state_dict()
        return {n: v for n, v in state.items() if n not in frozen and v.is_floating_point()}

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Run the block with the averaged weights in the module."""
        live = {name: value.detach().clone() for name, value in self._learned().items()}
        self.bare.load_state_dict(self.ema, strict=False)
        self.bare.eval()
        try:
            yield
        finally:
            self.bare.load_state_dict(live, strict=False)
            self.bare.train()

    def fit(self, *, resume: bool = False) -> Outcome:
        """Train to the end of the plan and return the weights that validated best.

        Raises:
            Interrupted: a signal asked for a stop; the state is saved.
            ArtifactError: the folder holds a run and `resume` is not asked for, or another model's, or
                one of another length, or another program is training there.
        """
        main = self.accelerator.is_main_process
        with alone(self.folder) if main else contextlib.nullcontext():
            return self._fit(resume=resume)

    def _fit(self, *, resume: bool) -> Outcome:
        if resume:
            self._load()
            self.plan.refuse_other(self.state, self.folder)
        elif (self.folder / CHECKPOINT).exists():
            raise ArtifactError(
                f"{self.folder} holds an unfinished or finished run",
                hint="add --resume to go on with it, or choose another folder",
            )
        self._tidy()
        if self.plan.trackers:
            self.accelerator.init_trackers(self.folder.name, config=_flat(asdict(self.plan)))
        if self.state.stopped is None:
            with self._stop_signals():
                stopped = self._train()
            self.state = replace(self.state, stopped=stopped)
            self._save()
        if self.plan.trackers:
            self.accelerator.end_training()
        weights = {name: value.detach().cpu().clone() for name, value in self.chosen.items()}
        return Outcome(weights, self.state)

    def _train(self) -> str:
        plan, rank = self.plan, self.accelerator.process_index
        self.bare.train()
        total = self.state.total or plan.iterations
        self.state = replace(self.state, total=total, budget=plan.planned_seconds)
        batches = iter(self.task.batches(self.state.iteration, rank, self.accelerator.num_processes))
        begun, before, saved = time.monotonic(), self.state.elapsed, time.monotonic()
        bar = tqdm(total=self.state.total, initial=self.state.iteration, unit="it", disable=None)
        with contextlib.closing(bar):
            while self.state.total is None or self.state.iteration < self.state.total:
                losses = self._step(next(batches))
                elapsed = before + time.monotonic() - begun
                iteration = self.state.iteration + 1
                self.state = replace(self.state, iteration=iteration, elapsed=elapsed)
                self.pace.iterated(elapsed)
                bar.update()
                if plan.seconds is not None and self.pace.known:
                    self._fit_budget(plan.seconds - elapsed)
                    bar.total = self.state.total
                if iteration % 10 == 0 or iteration == self.state.total:
                    figures = {name: float(value) for name, value in losses.items()}
                    bar.set_postfix({name: f"{value:.4f}" for name, value in figures.items()})
                    self._log({"event": "train", **figures})
                if self._validation_due():
                    self._validate()
                    if plan.patience and self.state.stale >= plan.patience:
                        return "no progress in validation"
                self.state = replace(self.state, elapsed=before + time.monotonic() - begun)
                if self._agree(self._stop_requested, iteration):
                    self._save()
                    raise Interrupted(f"stopped at iteration {iteration}", hint="go on with --resume")
                late = plan.seconds is not None and self.state.elapsed >= plan.seconds
                if self._agree(late, iteration) and self.state.iteration != self.state.total:
                    self._validate()
                    return "budget spent"
                if time.monotonic() - saved > plan.checkpoint_seconds:
                    self._save()
                    saved = time.monotonic()
        return "plan finished"

    def _step(self, micro_batches: Sequence[Any]) -> Mapping[str, Tensor]:
        """Make one optimiser update and return the mean losses."""
        rate = self._rate()
        for group, full in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = full * rate
        totals: dict[str, Tensor] = {}
        for index, batch in enumerate(micro_batches):
            last = index == len(micro_batches) - 1
            quiet = contextlib.nullcontext() if last else self.accelerator.no_sync(self.module)
            with quiet:
                losses = self.module(batch)
                self.accelerator.backward(losses["loss"] / len(micro_batches))
            for name, value in losses.items():
                totals[name] = totals.get(name, 0) + value.detach() / len(micro_batches)
        self.accelerator.clip_grad_norm_(self.module.parameters(), self.plan.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        decay = min(self.plan.ema, (1 + self.state.iteration) / (10 + self.state.iteration))
        with torch.no_grad():
            live = self._learned()
            torch._foreach_lerp_([self.ema[name] for name in live], list(live.values()), 1 - decay)
        return totals

    def _rate(self) -> float:
        """Return the learning rate's factor; before a budget is fitted, by a guess of its length."""
        state = self.state
        if state.total is not None:
            return self.plan.rate(state.iteration, state.total)
        guess, pace = [10**9], self.pace.rough()
        if pace and self.plan.seconds is not None:
            guess = [state.iteration + max(1, int((self.plan.seconds - state.elapsed) / pace))]
        broadcast_object_list(guess)
        return self.plan.rise(state.iteration, guess[0])

    def _fit_budget(self, left: float) -> None:
        """Set the number of iterations that fit a budget, and once more where the rate is to fall."""
        plan, state, pace = self.plan, self.state, self.pace
        if state.total is None:
            seconds = pace.lap()
            self._validate()
            fitting = list(plan.fitting(left - pace.price, seconds, pace.price))
        elif plan.fits_again(state):
            seconds, made = pace.lap(), state.validations or plan.validations
            fitting = [plan.fitting_fall(left, seconds, pace.price, made), made]
        else:
            return
        broadcast_object_list(fitting)
        total, again = self.state.iteration + fitting[0], state.total is not None
        self.state = replace(self.state, total=total, validations=fitting[1], fitted=again)
        logger.info("%d iterations fit the budget (%.2f s each)", total, seconds)

    def _validation_due(self) -> bool:
        state, validations = self.state, self.state.validations or self.plan.validations
        if state.total is None or state.iteration == self._validated:
            return False
        return self.plan.validates(state.iteration, state.total, validations)

    def _validate(self) -> None:
        """Measure the averaged weights on the held-out samples; keep the best, of the settling ones."""
        begun = time.monotonic()
        with self.averaged():
            told = [self.task.validate()]
            if self.accelerator.is_main_process:
                self.task.sheet(self.folder / "sheets" / f"{self.state.iteration:07d}.png")
                if self.plan.snapshots:
                    write_snapshot(self.folder, self.state.iteration, self.ema)
        broadcast_object_list(told)  # all processes must choose the same weights, and stop together
        figures = told[0]
        self.pace.validated(time.monotonic() - begun)
        state, settling = self.state, self.plan.settling
        first = settling(state.iteration, state.total) > settling(state.best_iteration, state.total)
        if first or figures["objective"] > state.best:
            self.chosen = {name: value.clone() for name, value in self.ema.items()}
            best = figures["objective"]
            self.state = replace(self.state, best=best, best_iteration=self.state.iteration, stale=0)
        else:
            self.state = replace(self.state, stale=self.state.stale + 1)
        self._validated = self.state.iteration
        self._log({"event": "validation", **figures})
        words = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        if self.accelerator.is_main_process:
            logger.info("iteration %d: %s", self.state.iteration, words)

    def _agree(self, wish: bool, iteration: int) -> bool:
        """Return whether any rank wishes to stop; several ranks ask each other every 10 iterations."""
        if self.accelerator.num_processes == 1:
            return wish
        if iteration % 10:
            return False
        votes = self.accelerator.gather(torch.tensor([wish], device=self.accelerator.device))
        return bool(votes.any())

    @contextlib.contextmanager
    def _stop_signals(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into a stop after the current iteration."""

        def request(*_: object) -> None:
            if self._stop_requested:
                raise KeyboardInterrupt
            self._stop_requested = True
            logger.warning("stopping after this iteration; the run can be resumed")

        previous = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not in the main thread
                previous[number] = signal.signal(number, request)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _log(self, event: Mapping[str, Any]) -> None:
        if not self.accelerator.is_main_process:
            return
        line = {"iteration": self.state.iteration, "seconds": round(self.state.elapsed, 3)}
        line |= {k: finite(v) if isinstance(v, float) else v for k, v in event.items()}  # type: ignore[misc]
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.plan.trackers:
            values = {k: v for k, v in event.items() if isinstance(v, float)}
            self.accelerator.log(values, step=self.state.iteration)

    def _tidy(self) -> None:
        """Drop what a killed run left: half-written files, and lines that will be logged again."""
        if not self.accelerator.is_main_process:
            return
        for leftover in [*self.folder.glob(".*.tmp"), *self.folder.glob("*/.*.tmp")]:
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)
        path = self.folder / LOG
        if not path.exists():
            return
        lines = []
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # a line cut by the kill
                if json.loads(line)["iteration"] <= self.state.iteration:
                    lines.append(line + "\n")
        with atomic_write(path, "w") as file:
            file.writelines(lines)

    def _save(self) -> None:
        """Write the whole state to one file, atomically."""
        if not self.accelerator.is_main_process:
            return
        slots = self.optimizer.state_dict()["state"]
        rooms = {
            "module": self.bare.state_dict(),
            "ema": self.ema,
            "chosen": self.chosen,
            "optimizer": {f"{i}.{n}": v for i, values in slots.items() for n, v in values.items()},
        }
        write_checkpoint(self.folder, rooms, self.state)

    def _load(self) -> None:
        """Take up the state of the last checkpoint, if there is one.

        Raises:
            ArtifactError: it is damaged, or belongs to another model.
        """
        if not (self.folder / CHECKPOINT).is_file():
            logger.info("%s holds no checkpoint yet: starting at iteration 0", self.folder)
            return
        rooms, state = read_checkpoint(self.folder)
        saved, own = rooms.get("module", {}), self.bare.state_dict()
        if {n: v.shape for n, v in saved.items()} != {n: v.shape for n, v in own.items()}:
            raise ArtifactError(
                f"{self.folder / CHECKPOINT} belongs to another model",
                hint="resume with the settings, and the version, that the run was started with",
            )
        self.bare.load_state_dict(saved)
        where = self.accelerator.device
        self.ema = {n: v.to(where) for n, v in rooms["ema"].items()}
        self.chosen = {n: v.to(where) for n, v in rooms["chosen"].items()}
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in rooms.get("optimizer", {}).items():
            index, name = key.split(".", 1)
            slots.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self.state = state


def _flat(values: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return what every tracker can store: plain scalars."""
    plain = (str, int, float, bool)
    return {k: v if isinstance(v, plain) else str(v) for k, v in values.items()}


logging.getLogger("accelerate").setLevel(logging.ERROR)
