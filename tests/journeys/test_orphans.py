"""Workers of a command that was killed outright: they must not go on with its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

GRID = """
import sys, time, os
from dataclasses import dataclass
from pathlib import Path
from blemish.experiments.grid import run_grid

@dataclass(frozen=True)
class Sleeper:
    name: str
    def identity(self):
        return {}
    def __call__(self, folder, device):
        (folder / "worker").write_text(str(os.getpid()))
        time.sleep(60)
        return {}

if __name__ == "__main__":
    run_grid([Sleeper("a"), Sleeper("b")], Path(sys.argv[1]), ["cpu", "cpu"])
"""

PAINTERS = """
import sys, time, os
from pathlib import Path
from blemish.generation.workers import produced

def make(label, index):
    folder = Path(sys.argv[1], label)
    folder.mkdir(parents=True)
    (folder / "worker").write_text(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    list(produced(make, [("a", 0), ("b", 0)], 2))
"""


def until(done, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.1)
    return False


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"  # dead, and only its adoptive parent has not asked yet


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("program", [GRID, PAINTERS], ids=["grid", "painters"])
def test_workers_end_soon_after_a_parent_that_was_killed(tmp_path, program):
    script, out = tmp_path / "program.py", tmp_path / "out"
    script.write_text(program, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, str(script), str(out)])
    places = [out / name / "worker" for name in "ab"]
    try:
        assert until(lambda: all(p.is_file() and p.read_text() for p in places), 60)
        workers = [int(place.read_text()) for place in places]
        assert len(set(workers)) == 2
        assert all(map(alive, workers))
    finally:
        parent.kill()
        parent.wait()
    gone = until(lambda: not any(map(alive, workers)), 15)
    for worker in filter(alive, workers):
        os.kill(worker, signal.SIGKILL)
    assert gone
