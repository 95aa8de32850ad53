"""A real `blemish watch`: killed at random, stopped, fed in every way that files arrive."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blemish.deploy.journal import FINDINGS
from blemish.synthesis import draw_good

PATIENCE = 60
PHOTOS, KILLS = 60, 5


def photo(seed: int, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_good("nut", 64, np.random.default_rng(seed))).save(buffer, kind)
    return buffer.getvalue()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def command(detector: Path, folder: Path, out: Path, *words: object) -> list[str]:
    start = [sys.executable, "-m", "blemish", "watch", detector, folder, "--out", out]
    return [str(word) for word in [*start, "--every", "0.1s", "--device", "cpu", *words]]


@contextmanager
def watch(detector: Path, folder: Path, out: Path, *words: object) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        command(detector, folder, out, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(out: Path) -> list[dict]:
    """Return the findings that are whole."""
    path = out / FINDINGS
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "incoming"
    (made / "day").mkdir(parents=True)
    return made


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_each_file_has_one_finding_however_often_the_watch_is_killed_while_files_arrive(
    run_folder, folder, tmp_path
):
    out, draw = tmp_path / "found", random.Random(0)  # noqa: S311 - where kills fall
    sent = {f"day/Teil ü {index}.png": photo(index) for index in range(PHOTOS)}
    killed = threading.Event()

    def arrive() -> None:
        """In turn: written at once, slowly, and renamed in; a third of all waits for a kill."""
        for index, (name, content) in enumerate(sent.items()):
            if index % 3 == 0:
                (folder / name).write_bytes(content)
            elif index % 3 == 1:
                with (folder / name).open("wb") as file:
                    for part in (content[:1000], content[1000:]):
                        file.write(part)
                        file.flush()
                        time.sleep(0.15)
            else:
                (folder / ".arriving").write_bytes(content)
                (folder / ".arriving").rename(folder / name)
            if index == PHOTOS // 3:
                killed.wait(PATIENCE)

    line = threading.Thread(target=arrive)
    line.start()
    for _ in range(KILLS):
        with watch(run_folder / "detector", folder, out) as process:
            goal = len(told(out)) + draw.randrange(1, PHOTOS // KILLS)
            until(lambda goal=goal: len(told(out)) >= min(goal, PHOTOS))
            time.sleep(draw.uniform(0, 0.05))
            process.kill()
            killed.set()
    line.join()
    with watch(run_folder / "detector", folder, out) as process:
        until(lambda: len(told(out)) >= PHOTOS)
        (folder / "last.png").write_bytes(photo(PHOTOS))
        until(lambda: len(told(out)) > PHOTOS)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    found = told(out)
    assert [line["sha256"] for line in found if line["image"] == "last.png"] == [sha(photo(PHOTOS))]
    assert sorted((line["image"], line["sha256"]) for line in found if line["image"] != "last.png") == (
        sorted((name, sha(content)) for name, content in sent.items())
    )
    for line in found:
        with Image.open(out / line["overlay"]) as picture:
            assert picture.size == (128, 64)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_what_arrives_in_any_way_is_found_and_a_stop_is_a_success(
    run_folder, detector, folder, tmp_path
):
    out = tmp_path / "found"
    place = folder / "Prüfling.bmp"
    closed = folder / "closed.png"
    first, second, third = (photo(seed, "bmp") for seed in range(3))
    with watch(run_folder / "detector", folder, out) as process:
        until(lambda: (out / FINDINGS).exists())
        refused = subprocess.run(
            command(run_folder / "detector", folder, out), capture_output=True, timeout=PATIENCE
        )
        assert refused.returncode == 2
        assert b"another watch" in refused.stderr
        assert refused.stdout == b""
        place.write_bytes(first)
        until(lambda: len(told(out)) == 1)
        place.write_bytes(second)  # as many bytes
        until(lambda: len(told(out)) == 2)
        (tmp_path / "third").write_bytes(third)
        (tmp_path / "third").replace(place)
        until(lambda: len(told(out)) == 3)
        os.utime(place)
        closed.symlink_to("closed.png")  # rights do not keep an administrator out: a link in a circle
        (folder / "broken.png").write_bytes(b"no photo")
        with (folder / "slow.png").open("wb") as file:
            for byte in range(0, len(photo(3)), 4000):
                file.write(photo(3)[byte : byte + 4000])
                file.flush()
                time.sleep(0.2)
        until(lambda: len(told(out)) == 5)  # broken.png is the last: it might have been arriving
        closed.unlink()
        closed.write_bytes(photo(4))
        until(lambda: len(told(out)) == 6)
        process.send_signal(signal.SIGTERM)
        printed, talk = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    found = told(out)
    assert [json.loads(line) for line in printed.splitlines()] == found
    assert b"closed.png is passed over for now" in talk
    assert [line["sha256"] for line in found[:3]] == [sha(first), sha(second), sha(third)]
    assert [line["image"] for line in found[3:]] == ["slow.png", "broken.png", "closed.png"]
    assert ["error" in line for line in found[3:]] == [False, True, False]
    assert found[2]["score"] == pytest.approx(detector.predict(place).score, abs=1e-5)
