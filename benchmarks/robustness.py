"""Kill a training run at ten moments, and inspect two hundred odd files.

    python benchmarks/robustness.py [--seed 0] [--files 200] [--timeout 120]

A run of `blemish train` is left alone, and another one is killed (SIGKILL) at random moments of
start-up, training, validation, the writing of a checkpoint, and the end; each kill is followed by the
same command. Both must end with the same bytes. Then `blemish inspect` gets a folder of healthy and odd
files: each must get its verdict or an error with a hint, and the healthy ones the verdict that they get
alone. Prints one JSON line; the exit code is 0 when all of this is so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from blemish.data import write_sample
from blemish.randomness import numpy_generator
from blemish.synthesis import draw_good
from odd_files import OddFile, drawn, encoded, lay_out

SIZE, PHOTOS, ITERATIONS, EVERY = 64, 12, 80, 10
SETTINGS = {
    "data.size": SIZE,
    "data.turns": [],
    "synthesis.kind": "object",
    "denoiser.width": 16,
    "segmenter.width": 16,
    "training.normals": 2,
    "training.defects": 2,
    "training.warmup": 0,
    "training.validations": ITERATIONS // EVERY,
    "training.checkpoint_seconds": 0,  # after every iteration
}
MIDDLE = ("training", "validation", "checkpoint")
HEALTHY = 20
CLOSE = 1e-6  # sums in batches of another size differ in the last bits


class Blemish:
    """The command line in a process of its own, its words in two files."""

    def __init__(self, folder: Path, words: Sequence[object], timeout: float) -> None:
        self.out, self.talk = folder / "stdout", folder / "stderr"
        command = [sys.executable, "-m", "blemish", *map(str, words), "--device", "cpu"]
        with self.out.open("wb") as out, self.talk.open("wb") as talk:
            self.process = subprocess.Popen([*command, "--precision", "fp32"], stdout=out, stderr=talk)  # noqa: S603
        self.begun, self.timeout, self.hung = time.monotonic(), timeout, False

    def alive(self) -> bool:
        """Return whether it still runs, after a moment's rest; a hung one is ended."""
        time.sleep(0.001)
        if time.monotonic() - self.begun > self.timeout:
            self.hung = True
            self.process.kill()
            self.process.wait()
        return self.process.poll() is None

    def finish(self) -> int:
        """Wait for the end and return the exit code, that of a kill after the timeout."""
        while self.alive():
            time.sleep(0.02)
        return self.process.returncode

    def complaints(self) -> list[str]:
        """Return the last lines of a traceback, if there is one."""
        text = self.talk.read_text(encoding="utf-8", errors="replace")
        return text.splitlines()[-5:] if "Traceback" in text else []


def progress(run: Path) -> dict[str, Any]:
    """Return where a run is, by its last checkpoint."""
    path = run / "progress.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"iteration": 0}


def log(run: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a run's log, without the time they took."""
    path = run / "log.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def last_logged(run: Path) -> dict[str, Any]:
    """Return the last line of a run's log."""
    return (log(run) or [{"event": "none", "iteration": 0}])[-1]


def half_written(run: Path) -> list[str]:
    """Return the temporary files and folders of a run."""
    return sorted(str(path.relative_to(run)) for path in run.rglob(".*.tmp"))


REACHED: dict[str, Callable[[Path, int], bool]] = {
    "start-up": lambda *_: True,
    "training": lambda run, least: progress(run)["iteration"] >= least,
    "validation": lambda run, least: (
        last_logged(run)["event"] == "train" and last_logged(run)["iteration"] >= least
    ),
    "checkpoint": lambda run, least: (
        progress(run)["iteration"] >= least and any(run.glob(".checkpoint.safetensors.*.tmp"))
    ),
    "settling": lambda run, _: progress(run).get("stopped") is not None,
    "saving": lambda run, _: any(run.glob(".detector.*.tmp")) or (run / "detector").exists(),
}
"""Whether a run has come to a stage, and to an iteration within it."""


def paces(run: Path, blemish: Blemish) -> dict[str, float]:
    """Follow a run to its end and return how long each stage takes, in seconds."""
    marks: dict[tuple[str, int], float] = {}

    def mark(stage: str, number: int = 0) -> None:
        marks.setdefault((stage, number), time.monotonic() - blemish.begun)

    while blemish.alive():
        for line in log(run):
            mark(line["event"], line["iteration"])
        for stage in ("settling", "saving"):
            if REACHED[stage](run, 0):
                mark(stage)
        if (run / "detector").exists():
            mark("saved")
        if progress(run)["iteration"]:
            mark("first")
    ends = {number: when for (stage, number), when in marks.items() if stage == "validation"}
    validation = sum(when - marks["train", number] for number, when in ends.items()) / len(ends)
    whole = marks["settling", 0] - marks["first", 0] - validation * len(ends)
    return {
        "start-up": marks["first", 0],
        "training": whole / ITERATIONS,
        "validation": validation,
        "checkpoint": whole / ITERATIONS / 4,  # every iteration ends with one
        "settling": marks["saving", 0] - marks["settling", 0],
        "saving": marks["saved", 0] - marks["saving", 0],
    }


def next_goal(stage: str, run: Path, rng: random.Random) -> int:
    """Return the iteration from which the next kill may come."""
    if stage == "validation":
        return int(last_logged(run)["iteration"]) + 1  # a line that is not there yet
    return int(progress(run)["iteration"]) + rng.randint(2, 5)


def moments(rng: random.Random) -> list[str]:
    """Return the stages of ten kills in an order in which a run can meet them."""
    middle = [*MIDDLE, *MIDDLE, "start-up"]
    rng.shuffle(middle)
    return ["start-up", *middle, "settling", "saving"]


def kill_and_resume(root: Path, seed: int, timeout: float) -> dict[str, Any]:
    """Return what ten kills have changed: nothing."""
    data, alone, killed = root / "nut", root / "alone", root / "killed"
    for index in range(PHOTOS):
        photo = draw_good("nut", SIZE, numpy_generator(seed, "train", index))
        write_sample(data, "good", f"{index:03d}", photo, split="train")
    sets = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]

    def train(run: Path) -> Blemish:
        words = ["train", data, "--out", run, "--iterations", ITERATIONS, "--resume", *sets]
        return Blemish(root, words, timeout)

    undisturbed = train(alone)
    pace = paces(alone, undisturbed)
    codes, troubles = [undisturbed.finish()], undisturbed.complaints()
    rng = random.Random(seed)  # noqa: S311 - no secret
    kills: list[dict[str, Any]] = []
    for stage in moments(rng):
        goal = next_goal(stage, killed, rng)
        worker = train(killed)
        while worker.alive() and not REACHED[stage](killed, goal):
            pass
        time.sleep(rng.uniform(0, pace[stage]))
        worker.process.kill()
        worker.process.wait()
        troubles += worker.complaints()
        line = last_logged(killed)
        kills.append(
            {
                "aim": stage,
                "killed": worker.process.returncode == -signal.SIGKILL and not worker.hung,
                "iteration": progress(killed)["iteration"],
                "seconds": round(time.monotonic() - worker.begun, 2),
                "last_logged": f"{line['event']} {line['iteration']}",
                "half_written": half_written(killed),
                "detector": (killed / "detector").exists(),
            }
        )
    last = train(killed)
    codes.append(last.finish())
    troubles += last.complaints()
    same = {name: same_bytes(alone, killed, name) for name in ("config.yaml", "split.json")}
    same["weights"] = same_bytes(alone, killed, "detector/weights.safetensors")
    same["card"] = card(alone) == card(killed)
    same["log"] = log(alone) == log(killed)
    fine = all(same.values()) and codes == [0, 0] and not troubles and not half_written(killed)
    return {
        "identical": fine and all(kill["killed"] for kill in kills),
        "same": same,
        "iterations": ITERATIONS,
        "kills": kills,
        "exit_codes": codes,
        "left_behind": half_written(killed),
        "tracebacks": troubles,
        "stage_seconds": {stage: round(seconds, 3) for stage, seconds in pace.items()},
    }


def same_bytes(one: Path, other: Path, name: str) -> bool:
    """Return whether both folders hold the same file."""
    files = [folder / name for folder in (one, other)]
    return all(file.is_file() for file in files) and files[0].read_bytes() == files[1].read_bytes()


def card(run: Path) -> dict[str, Any]:
    """Return what a detector says of itself, without the time it took."""
    path = run / "detector" / "card.json"
    facts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"facts": {}}
    facts["facts"].pop("training_seconds", None)
    return dict(facts)


def odd_files(root: Path, seed: int, count: int, timeout: float) -> dict[str, Any]:
    """Return what becomes of odd files, and of healthy ones among them."""
    mixed, single = root / "mixed", root / "single"
    mixed.mkdir()
    laid = lay_out(mixed, seed, count)
    rng = numpy_generator(seed, "healthy")
    for index in range(HEALTHY):
        name = f"{index * count // HEALTHY:03d}_healthy.png"  # in natural order among the others
        (mixed / name).write_bytes(encoded(drawn(rng), "PNG"))
        laid.append(OddFile(mixed / name, "healthy", "verdict"))
    detector = root / "alone" / "detector"
    code, lines, talk, seconds = inspect(root, [detector, mixed], timeout)
    found = {line["image"]: line for line in lines}
    fates = {file: fate(found.get(str(file.path))) for file in laid}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for file, got in fates.items():
        counts[file.kind][got] += 1

    single.mkdir()
    readable = [file.path for file, got in fates.items() if got == "verdict"]
    for path in readable:
        (single / path.name).symlink_to(path)
    alone_code, alone, _, _ = inspect(root, [detector, single, "--batch", 1], timeout)
    verdicts = {Path(line["image"]).name: line for line in alone}
    pairs = [(found[str(path)], verdicts.get(path.name)) for path in readable]
    shifts = [abs(line["score"] - other["score"]) for line, other in pairs if other]
    unexpected = [
        {"file": file.path.name, "kind": file.kind, "got": got, "line": found.get(str(file.path))}
        for file, got in fates.items()
        if got not in ("verdict", "error") or file.fate not in (got, "either")
    ]
    same = len(shifts) == len(pairs) and all(
        line["anomalous"] == other["anomalous"] for line, other in pairs if other
    )
    return {
        "files": len(laid),
        "outcomes": dict(Counter(fates.values())),
        "kinds": {kind: dict(counts[kind]) for kind in sorted(counts)},
        "unexpected": unexpected,
        "lines_without_a_file": len(lines) - len([file for file in fates if str(file.path) in found]),
        "exit_code": code,
        "exit_code_alone": alone_code,
        "talk": talk,
        "seconds": seconds,
        "same_verdict_alone": same,
        "same_score_alone": f"{sum(shift == 0 for shift in shifts)} of {len(shifts)}",
        "largest_shift_of_a_score": max(shifts, default=None),
        "fine": same
        and max(shifts, default=0) <= CLOSE
        and not unexpected
        and not talk
        and len(lines) == len(laid)
        and (code, alone_code) == (2, 0),
    }


def inspect(
    root: Path, words: Sequence[object], timeout: float
) -> tuple[int, list[dict[str, Any]], list[str], float]:
    """Return exit code, JSON lines, lines on stderr, and seconds of an inspection."""
    blemish = Blemish(root, ["inspect", *words], timeout)
    code = blemish.finish()
    seconds = round(time.monotonic() - blemish.begun, 1)
    lines = [json.loads(line) for line in blemish.out.read_text(encoding="utf-8").splitlines()]
    talk = blemish.talk.read_text(encoding="utf-8", errors="replace").splitlines()
    return code, lines, talk, seconds


def fate(line: dict[str, Any] | None) -> str:
    """Return what a file got: `verdict`, `error`, or what is wrong with its line."""
    if line is None:
        return "nothing"
    if "error" in line:
        return "error" if line["error"] and line["hint"] and len(line) == 3 else "error without a hint"
    return "verdict" if 0 <= line["score"] <= 1 and isinstance(line["anomalous"], bool) else "nonsense"


def main() -> int:
    """Measure, print, and say by the exit code whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds until a command hangs")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        resume = kill_and_resume(root, options.seed, options.timeout)
        files = odd_files(root, options.seed, options.files, options.timeout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result = {
        "fine": resume["identical"] and files["fine"],
        "kill_and_resume": resume,
        "odd_files": files,
        "peak_rss_mib": peak >> (20 if sys.platform == "darwin" else 10),
        "seconds": round(time.monotonic() - begun, 1),
        "seed": options.seed,
        "root": os.geteuid() == 0,
    }
    print(json.dumps(result))
    return 0 if result["fine"] else 1


if __name__ == "__main__":
    sys.exit(main())
