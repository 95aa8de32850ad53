"""The one training loop, for whatever is trained: a budget, averaging, selection, exact resume."""

from blemish.training.checkpoint import CHECKPOINT, SNAPSHOTS, read_snapshots
from blemish.training.plan import Interrupted, Outcome, Plan, State, Task
from blemish.training.run import LOG, Run
from blemish.training.stream import stream
from blemish.training.trackers import refuse_missing

__all__ = [
    "CHECKPOINT",
    "LOG",
    "SNAPSHOTS",
    "Interrupted",
    "Outcome",
    "Plan",
    "Run",
    "State",
    "Task",
    "read_snapshots",
    "refuse_missing",
    "stream",
]
