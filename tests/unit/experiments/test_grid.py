from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import numpy as np
import pytest
import torch

from blemish.data import read_dataset, write_sample
from blemish.errors import ArtifactError, ConfigError
from blemish.experiments import grid
from blemish.experiments.grid import (
    IDENTITY,
    RESULT,
    all_devices,
    content_digest,
    fingerprint,
    other_versions,
    run_grid,
)
from blemish.training import CHECKPOINT
from blemish.version import __version__


class CrashError(Exception):
    """The power went."""


@dataclass(frozen=True)
class Square:
    """Squares a number, and notes in its folder that it did, and on which device."""

    number: int
    power: float = 2
    crashes: int = 0

    @property
    def name(self) -> str:
        return f"squares/{self.number}"

    def identity(self) -> dict[str, Any]:
        return {"number": self.number, "power": self.power, "of": ("a", "tuple")}

    def __call__(self, folder: Path, device: str) -> dict[str, Any]:
        notes = folder / "notes.txt"
        before = notes.read_text(encoding="utf-8") if notes.is_file() else ""
        notes.write_text(f"{before}{device}\n", encoding="utf-8")
        if before.count("\n") < self.crashes:
            raise CrashError(self.name)
        return {"value": self.number**self.power}


def attempts(root: Path, cell: Square) -> list[str]:
    return (root / cell.name / "notes.txt").read_text(encoding="utf-8").splitlines()


CELLS = [Square(3), Square(1), Square(2)]


def test_results_come_in_the_order_of_the_cells_and_a_finished_cell_is_never_run_again(tmp_path):
    expected = [{"value": 9}, {"value": 1}, {"value": 4}]
    assert run_grid(CELLS[:2], tmp_path) == expected[:2]
    assert run_grid(CELLS, tmp_path, ["cpu"]) == expected
    assert run_grid(CELLS, tmp_path) == expected
    assert [attempts(tmp_path, cell) for cell in CELLS] == [["auto"], ["auto"], ["cpu"]]


def test_a_cell_killed_half_way_is_run_again_and_finds_its_folder_as_it_was(tmp_path):
    cells = [Square(5), Square(6, crashes=1), Square(7)]
    with pytest.raises(CrashError, match="squares/6"):
        run_grid(cells, tmp_path)
    assert not (tmp_path / "squares/6" / RESULT).exists()
    assert run_grid(cells, tmp_path) == [{"value": 25}, {"value": 36}, {"value": 49}]
    assert [len(attempts(tmp_path, cell)) for cell in cells] == [1, 2, 1]


def test_the_checkpoints_of_a_cell_stay_until_it_has_a_result_and_nothing_else_goes(tmp_path):
    class Heavy(Square):
        def __call__(self, folder: Path, device: str) -> dict[str, Any]:
            for name in (CHECKPOINT, f"run/{CHECKPOINT}", "run/log.jsonl"):
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).touch()
            return super().__call__(folder, device)

    cells = [Heavy(1), Heavy(2, crashes=1)]
    with pytest.raises(CrashError):
        run_grid(cells, tmp_path)
    done, crashed = (tmp_path / cell.name for cell in cells)
    assert [path.relative_to(crashed) for path in sorted(crashed.rglob(CHECKPOINT))] == [
        Path(CHECKPOINT),
        Path("run", CHECKPOINT),
    ]
    run_grid(cells, tmp_path)
    for folder in (done, crashed):
        files = {path.name for path in folder.rglob("*") if path.is_file()}
        assert files == {RESULT, "notes.txt", "log.jsonl"}


def test_the_result_of_another_cell_is_refused_and_left_alone(tmp_path):
    run_grid(CELLS, tmp_path)
    before = (tmp_path / "squares/2" / RESULT).read_bytes()
    with pytest.raises(ArtifactError, match="another experiment"):
        run_grid([CELLS[0], replace(CELLS[2], power=3)], tmp_path)
    assert (tmp_path / "squares/2" / RESULT).read_bytes() == before
    assert len(attempts(tmp_path, CELLS[0])) == 1


def test_what_a_killed_cell_has_left_is_not_taken_up_by_another_one(tmp_path):
    with pytest.raises(CrashError):
        run_grid([Square(6, crashes=1)], tmp_path)
    with pytest.raises(ArtifactError, match="another experiment"):
        run_grid([Square(6, power=3, crashes=1)], tmp_path)
    assert len(attempts(tmp_path, Square(6))) == 1
    assert run_grid([Square(6, crashes=1)], tmp_path) == [{"value": 36}]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": {}}', '{"result": {}}', "\xff"])
def test_a_damaged_result_is_an_error_that_names_the_file_and_the_way_out(tmp_path, content):
    run_grid(CELLS, tmp_path)
    path = tmp_path / "squares/1" / RESULT
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ArtifactError, match="delete it to run the cell again") as error:
        run_grid(CELLS, tmp_path)
    assert str(path) in str(error.value)


def test_a_result_that_json_cannot_hold_leaves_no_file(tmp_path):
    class Undefined(Square):
        def __call__(self, folder: Path, device: str) -> dict[str, Any]:
            return {**super().__call__(folder, device), "value": float("nan")}

    with pytest.raises(ValueError, match="not JSON compliant"):
        run_grid([Undefined(0)], tmp_path)
    assert {path.name for path in (tmp_path / "squares/0").iterdir()} == {"notes.txt", IDENTITY}


def test_a_result_tells_which_code_made_it_and_a_reader_is_told_of_another(tmp_path, monkeypatch):
    run_grid(CELLS, tmp_path)
    made_by = json.loads((tmp_path / "squares/1" / RESULT).read_text(encoding="utf-8"))["made_by"]
    assert made_by == {"blemish": __version__, "torch": torch.__version__}
    assert other_versions(CELLS, tmp_path) == []
    path = tmp_path / "squares/2" / RESULT
    old = json.loads(path.read_text(encoding="utf-8"))
    del old["made_by"]
    path.write_text(json.dumps(old), encoding="utf-8")
    (note,) = other_versions(CELLS, tmp_path)
    assert "1 of 3 results" in note
    assert "blemish not noted" in note
    monkeypatch.setattr(grid, "_VERSIONS", {"blemish": "9.9", "torch": torch.__version__})
    notes = other_versions(CELLS, tmp_path)
    told = f"2 of 3 results were made by another version (blemish {__version__},"
    assert any(told in note for note in notes)
    assert all("blemish 9.9" in note for note in notes)
    assert run_grid(CELLS, tmp_path) == [{"value": 9}, {"value": 1}, {"value": 4}]


def test_the_fingerprint_is_of_what_decides_the_results_and_of_nothing_else(tmp_path):
    run_grid(CELLS, tmp_path / "a")
    run_grid(CELLS, tmp_path / "b", ["cpu"])
    run_grid([*CELLS[:2], Square(2, power=3)], tmp_path / "c")
    first, same, other = (fingerprint(CELLS, tmp_path / name) for name in "abc")
    assert first == same != other
    assert len(first.removeprefix("SHA-256 ")) == 64


def test_two_cells_of_one_name_and_a_grid_without_a_device_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="names of their own"):
        run_grid([Square(2), Square(2, power=3)], tmp_path)
    with pytest.raises(ConfigError, match="device to run on"):
        run_grid(CELLS, tmp_path, [])
    assert not list(tmp_path.iterdir())
    assert run_grid([], tmp_path) == []


def test_processes_on_two_devices_give_the_results_of_one(tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    expected = run_grid(CELLS, alone)
    assert run_grid(CELLS, shared, ["left", "right"]) == expected
    used = {device for cell in CELLS for device in attempts(shared, cell)}
    assert used <= {"left", "right"}
    for cell in CELLS:
        result = Path(cell.name) / RESULT
        assert (shared / result).read_bytes() == (alone / result).read_bytes()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads stand in for processes, which take seconds to start."""
    monkeypatch.setattr(grid, "ProcessPoolExecutor", lambda count, *_: ThreadPoolExecutor(count))


@pytest.mark.usefixtures("threads")
def test_a_device_works_on_one_cell_at_a_time_and_all_devices_work(tmp_path):
    busy: set[str] = set()
    lock, both = Lock(), Barrier(2, timeout=20)

    class Watched(Square):
        def __call__(self, folder: Path, device: str) -> dict[str, Any]:
            with lock:
                assert device not in busy
                busy.add(device)
            both.wait()
            with lock:
                busy.remove(device)
            return super().__call__(folder, device)

    cells = [Watched(number) for number in range(6)]
    assert run_grid(cells, tmp_path, ["left", "right"]) == [{"value": n * n} for n in range(6)]
    used = [attempts(tmp_path, cell)[0] for cell in cells]
    assert set(used) == {"left", "right"}


@pytest.mark.usefixtures("threads")
def test_a_crash_on_one_device_is_told_and_what_others_finished_is_kept(tmp_path):
    cells = [Square(1, crashes=1), Square(2), Square(3)]
    with pytest.raises(CrashError, match="squares/1"):
        run_grid(cells, tmp_path, ["left", "right"])
    assert (tmp_path / "squares/2" / RESULT).is_file()
    assert run_grid(cells, tmp_path, ["left", "right"]) == [{"value": 1}, {"value": 4}, {"value": 9}]
    assert len(attempts(tmp_path, cells[1])) == 1


@pytest.mark.parametrize(
    ("count", "expected"), [(0, ("auto",)), (1, ("auto",)), (3, ("cuda:0", "cuda:1", "cuda:2"))]
)
def test_every_graphics_card_is_used_where_there_are_several(monkeypatch, count, expected):
    monkeypatch.setattr(grid.torch.cuda, "device_count", lambda: count)
    assert all_devices() == expected


def test_the_digest_tells_contents_labels_splits_and_order_and_not_places(tmp_path):
    photo, mask = np.zeros((4, 4, 3), np.uint8), np.eye(4, dtype=bool)
    write_sample(tmp_path / "a", "good", "0", photo)
    write_sample(tmp_path / "a", "dent", "0", photo + 9, mask)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first, moved = (read_dataset(tmp_path / name).records for name in "ab")
    assert content_digest(first) == content_digest(moved)
    others = [
        first[:1],
        first[::-1],
        (replace(first[0], label="scratch"), first[1]),
        (replace(first[0], split="train"), first[1]),
        (replace(first[0], mask=None), first[1]),
    ]
    write_sample(tmp_path / "b", "dent", "0", photo + 9, ~mask)
    others.append(moved)
    found = [content_digest(records) for records in (first, *others)]
    write_sample(tmp_path / "b", "dent", "0", photo + 8, mask)
    found.append(content_digest(moved))
    assert len(set(found)) == len(found)


class Threads(Square):
    """Tells how many threads it may use."""

    def __call__(self, folder: Path, device: str) -> dict[str, Any]:
        return {**super().__call__(folder, device), "threads": torch.get_num_threads()}


def test_cells_at_the_same_time_share_the_cores(tmp_path):
    mine = torch.get_num_threads()
    found = run_grid([Threads(0), Threads(1), Threads(2)], tmp_path, ["cpu"] * 3)
    assert [result["threads"] for result in found] == [max(1, mine // 3)] * 3
    assert torch.get_num_threads() == mine
