from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blemish.deploy import watching
from blemish.deploy.journal import FINDINGS, Look
from blemish.deploy.watching import OVERLAYS, Watch
from blemish.errors import ArtifactError, DatasetError
from blemish.synthesis import draw_good

END = 30.0


class Clock:
    """Time that passes when somebody sleeps; at the seconds asked for it calls what was given."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: list[tuple[float, Callable[[], Any]]] = []
        self.time = time.time

    def at(self, second: float, event: Callable[[], Any]) -> None:
        self.events.append((second, event))

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [event for second, event in self.events if second <= self.now]
        self.events = [(second, event) for second, event in self.events if second > self.now]
        for event in due:
            event()


class Interfering:
    """A detector during whose looks at photos something happens."""

    def __init__(self, detector: Any, events: list[Callable[[], Any]]) -> None:
        self.detector, self.events = detector, events

    def predict_many(self, photos: Any, **options: Any) -> Iterator[Any]:
        if self.events:
            self.events.pop(0)()
        return self.detector.predict_many(photos, **options)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(watching, "time", made)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "incoming"
    made.mkdir()
    return made


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "found"


def photo(seed: int = 0, kind: str = "png") -> bytes:
    array = draw_good("nut", 64, np.random.default_rng(seed))
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def watched(detector: Any, folder: Path, out: Path, clock: Clock, **options: Any) -> list[dict]:
    """Return the findings of a watch that is stopped after END seconds of its clock."""
    with Watch(detector, folder, out, **options) as watch:
        clock.at(clock.now + END, lambda: signal.raise_signal(signal.SIGTERM))
        return list(islice(watch.lines(), 100))


def told(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / FINDINGS).read_bytes().splitlines()]


def test_a_photo_is_inspected_once_and_its_line_and_heat_map_are_on_the_disk(
    detector, folder, out, clock
):
    (folder / "a.png").write_bytes(photo())
    (line,) = watched(detector, folder, out, clock)
    assert told(out) == [line]
    expected = detector.predict(folder / "a.png")
    assert line["image"] == "a.png"
    assert line["score"] == pytest.approx(expected.score, abs=1e-5)
    assert line["threshold"] == expected.threshold
    assert line["sha256"] == sha(photo())
    with Image.open(out / line["overlay"]) as picture:
        assert picture.size == (128, 64)


def test_without_heat_maps_there_are_lines_only(detector, folder, out, clock):
    (folder / "a.png").write_bytes(photo())
    (line,) = watched(detector, folder, out, clock, overlays=False)
    assert "overlay" not in line
    assert not (out / OVERLAYS).exists()


def test_photos_at_any_depth_come_in_natural_order_without_what_is_hidden_or_written(
    detector, folder, clock
):
    out = folder / "found"
    names = (
        "10.png",
        "9.png",
        "day/1.PNG",
        ".a.png",
        ".tmp/b.png",
        "ground_truth/c.png",
        "notes.txt",
        "found/overlays/1.png",
    )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo())
    lines = watched(detector, folder, out, clock, overlays=False)
    assert [line["image"] for line in lines] == ["9.png", "10.png", "day/1.PNG"]


def test_a_photo_is_read_when_it_has_stopped_to_grow(detector, folder, out, clock):
    whole = photo(kind="bmp")
    parts = [whole[start : start + 2000] for start in range(0, len(whole), 2000)]

    def grow() -> None:
        with (folder / "a.bmp").open("ab") as file:
            file.write(parts.pop(0))

    for second in range(len(parts)):
        clock.at(second + 0.5, grow)
    assert [line["sha256"] for line in watched(detector, folder, out, clock)] == [sha(whole)]


@pytest.mark.parametrize(("pause", "errors"), [(3.5, 0), (12, 1)])
def test_a_copy_that_pauses_gets_an_error_only_when_patience_ends_and_its_verdict_when_whole(
    detector, folder, out, clock, pause, errors
):
    whole = photo()
    (folder / "a.png").write_bytes(whole[:1000])
    clock.at(pause, lambda: (folder / "a.png").write_bytes(whole))
    lines = watched(detector, folder, out, clock)
    assert ["error" in line for line in lines] == [True] * errors + [False]
    assert [line["sha256"] for line in lines] == [sha(whole[:1000])] * errors + [sha(whole)]


def test_what_is_no_photo_is_said_once_and_keeps_nothing_from_the_others(detector, folder, out, clock):
    (folder / "a.png").write_bytes(b"no photo")
    (folder / "b.png").touch()
    (folder / "c.png").write_bytes(photo())
    lines = watched(detector, folder, out, clock)
    assert {line["image"]: "error" in line for line in lines} == {
        "a.png": True,
        "b.png": True,
        "c.png": False,
    }
    assert len(lines) == 3
    assert [line["overlay"] is None for line in lines] == ["error" in line for line in lines]
    assert watched(detector, folder, out, clock) == []


def test_a_file_larger_than_any_photo_is_not_read(detector, folder, out, clock, monkeypatch):
    monkeypatch.setattr(watching, "_LARGEST", len(photo()) - 1)
    (folder / "a.png").write_bytes(photo())
    (line,) = watched(detector, folder, out, clock)
    assert "larger than any photo" in line["error"]


def test_another_picture_under_an_old_name_is_a_new_photo(detector, folder, out, clock):
    (folder / "a.png").write_bytes(photo(0))
    clock.at(5, lambda: (folder / "a.png").write_bytes(photo(1)))
    (folder / "new").write_bytes(photo(2))
    clock.at(10, lambda: (folder / "new").replace(folder / "a.png"))
    lines = watched(detector, folder, out, clock)
    assert [line["sha256"] for line in lines] == [sha(photo(seed)) for seed in range(3)]
    assert len({line["overlay"] for line in lines}) == 3


def test_a_newer_date_other_rights_or_the_same_content_again_are_no_new_photo(
    detector, folder, out, clock
):
    place = folder / "a.png"
    place.write_bytes(photo())
    clock.at(5, lambda: os.utime(place, (1, 1)))
    clock.at(10, lambda: place.chmod(0o600))
    clock.at(15, place.unlink)
    clock.at(20, lambda: place.write_bytes(photo()))
    assert len(watched(detector, folder, out, clock)) == 1


def test_the_same_content_under_two_names_is_two_photos(detector, folder, out, clock):
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo())
    assert [line["image"] for line in watched(detector, folder, out, clock)] == ["a.png", "b.png"]


def test_a_watch_that_starts_again_goes_on_where_the_last_one_stopped(detector, folder, out, clock):
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo())
    watched(detector, folder, out, clock)
    (folder / "c.png").write_bytes(photo())
    (folder / "b.png").write_bytes(photo(1))
    os.utime(folder / "a.png", (1, 1))
    assert [line["image"] for line in watched(detector, folder, out, clock)] == ["b.png", "c.png"]
    assert [line["image"] for line in told(out)] == ["a.png", "b.png", "b.png", "c.png"]


def test_a_picture_that_comes_while_the_last_one_is_inspected_is_inspected_too(
    detector, folder, out, clock
):
    place = folder / "a.png"
    place.write_bytes(photo(0))
    other = Interfering(detector, [lambda: place.write_bytes(photo(1))])
    lines = watched(other, folder, out, clock)
    assert [line["sha256"] for line in lines] == [sha(photo(0)), sha(photo(1))]
    expected = [detector.predict(draw_good("nut", 64, np.random.default_rng(s))).score for s in (0, 1)]
    assert [line["score"] for line in lines] == pytest.approx(expected, abs=1e-5)


def test_a_file_that_changed_since_it_was_looked_at_waits_for_the_next_look(
    detector, folder, out, clock
):
    (folder / "a.png").write_bytes(photo(0))
    (folder / "b.png").write_bytes(photo(1)[:500])
    other = Interfering(detector, [lambda: (folder / "b.png").write_bytes(photo(1))])
    with Watch(other, folder, out) as watch:
        lines = islice(watch.lines(), 2)
        assert next(lines)["image"] == "a.png"
        before = clock.now
        assert next(lines)["sha256"] == sha(photo(1))
        assert clock.now >= before + 2


def test_a_file_that_is_written_to_while_it_is_read_is_read_again(
    detector, folder, out, clock, monkeypatch
):
    place, opened, writes = folder / "a.png", Path.open, [photo(1) + bytes(1)]
    place.write_bytes(photo(0))

    class Overwritten(io.FileIO):
        def read(self, *words: Any) -> Any:
            content = super().read(*words)
            if writes:
                with opened(place, "wb") as file:
                    file.write(writes.pop())
            return content

    def opening(path: Path, *words: Any, **options: Any) -> Any:
        return Overwritten(path) if path == place else opened(path, *words, **options)

    monkeypatch.setattr(Path, "open", opening)
    lines = watched(detector, folder, out, clock)
    assert [line["sha256"] for line in lines] == [sha(photo(1) + bytes(1))]


def test_where_dates_count_in_steps_of_two_seconds_the_last_of_two_pictures_is_not_lost(
    detector, folder, out, clock, monkeypatch
):
    monkeypatch.setattr(Look, "of", classmethod(lambda cls, s: cls(s.st_size, s.st_mtime_ns, 0)))
    first, second = photo(0, "bmp"), photo(1, "bmp")
    assert len(first) == len(second)

    def write(content: bytes, date: int) -> None:
        (folder / "a.bmp").write_bytes(content)
        os.utime(folder / "a.bmp", (date, date))

    write(first, 1_700_000_000)
    clock.at(1.5, lambda: write(second, 1_700_000_000))
    lines = watched(detector, folder, out, clock)
    assert lines[-1]["sha256"] == sha(second)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of files that may not be read: rights do not keep an administrator out."""
    names: set[str] = set()
    opened = Path.open

    def guarded(path: Path, *words: Any, **options: Any) -> Any:
        if path.name in names:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *words, **options)

    monkeypatch.setattr(Path, "open", guarded)
    return names


@pytest.mark.parametrize(("seconds", "errors"), [(3.5, 0), (20, 1)])
def test_a_file_that_may_not_be_read_for_a_while_is_inspected_when_it_may(
    detector, folder, out, clock, closed, seconds, errors
):
    (folder / "a.png").write_bytes(photo())
    closed.add("a.png")
    clock.at(seconds, closed.clear)
    lines = watched(detector, folder, out, clock)
    assert ["Permission denied" in line.get("error", "") for line in lines] == [True] * errors + [False]
    assert lines[-1]["sha256"] == sha(photo())


def test_a_new_start_does_not_say_again_what_cannot_be_read_and_still_tries(
    detector, folder, out, clock, closed
):
    (folder / "a.png").write_bytes(photo())
    closed.add("a.png")
    (line,) = watched(detector, folder, out, clock)
    assert line["sha256"] is None
    assert watched(detector, folder, out, clock) == []
    closed.clear()
    (line,) = watched(detector, folder, out, clock)
    assert line["sha256"] == sha(photo())


def test_a_photo_that_was_inspected_is_not_again_after_it_could_not_be_read(
    detector, folder, out, clock, closed
):
    (folder / "a.png").write_bytes(photo())

    def close() -> None:
        closed.add("a.png")
        os.utime(folder / "a.png")

    clock.at(5, close)
    clock.at(15, closed.clear)
    lines = watched(detector, folder, out, clock)
    assert [line["sha256"] for line in lines] == [sha(photo()), None]


def test_a_folder_that_goes_and_comes_back_is_said_once_and_repeats_nothing(
    detector, folder, out, clock, caplog, restored_logger
):
    restored_logger.handlers[:], restored_logger.propagate = [], True
    away = folder.with_name("away")
    (folder / "a.png").write_bytes(photo())
    clock.at(5, lambda: folder.rename(away))
    clock.at(15, lambda: away.rename(folder))
    clock.at(16, lambda: (folder / "b.png").write_bytes(photo()))
    assert [line["image"] for line in watched(detector, folder, out, clock)] == ["a.png", "b.png"]
    assert caplog.text.count("is passed over for now") == 1


def test_a_photo_that_is_gone_before_it_is_read_is_nobodys_fault(detector, folder, out, clock):
    (folder / "a.png").write_bytes(photo())
    (folder / "b.png").write_bytes(photo())
    other = Interfering(detector, [(folder / "b.png").unlink])
    assert [line["image"] for line in watched(other, folder, out, clock)] == ["a.png"]


@pytest.mark.skipif(os.name == "nt", reason="makes pipes and links")
def test_links_to_photos_are_followed_and_pipes_folders_and_links_to_nothing_are_not_read(
    detector, folder, out, clock, tmp_path
):
    (tmp_path / "real.png").write_bytes(photo())
    (folder / "link.png").symlink_to(tmp_path / "real.png")
    (folder / "nothing.png").symlink_to(tmp_path / "absent.png")
    (folder / "round.png").symlink_to(folder / "round.png")
    (folder / "again").symlink_to(folder)
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    clock.at(5, lambda: (tmp_path / "absent.png").write_bytes(photo()))
    names = [line["image"] for line in watched(detector, folder, out, clock)]
    assert names == ["link.png", "nothing.png"]


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are Unicode there")
def test_a_name_that_is_no_text_and_one_as_long_as_can_be_are_photos_as_any(
    detector, folder, out, clock
):
    names = [os.fsdecode(b"\xff\xfe.png"), 62 * "𝄞" + ".png", "Prüfling ü 検査.png"]
    for name in names:
        (folder / name).write_bytes(photo())
    lines = watched(detector, folder, out, clock)
    assert {line["image"] for line in lines} == set(names)
    assert all((out / line["overlay"]).is_file() for line in lines)
    assert watched(detector, folder, out, clock) == []


def test_once_ends_when_each_file_there_has_a_line(detector, folder, out, clock, closed):
    for name in ("a.png", "closed.png"):
        (folder / name).write_bytes(photo())
    (folder / "broken.png").write_bytes(b"no photo")
    closed.add("closed.png")
    clock.at(3, lambda: (folder / "later.png").write_bytes(photo()))
    with Watch(detector, folder, out) as watch:
        lines = list(watch.lines(once=True))
    assert {line["image"] for line in lines} == {"a.png", "closed.png", "broken.png", "later.png"}
    with Watch(detector, folder, out) as watch:
        assert list(watch.lines(once=True)) == []


def test_once_ends_at_once_where_there_is_nothing(detector, folder, out):
    with Watch(detector, folder, out) as watch:
        assert list(watch.lines(once=True)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_watch_after_the_photo_at_hand_and_the_second_is_no_longer_ours(
    detector, folder, out, clock, number
):
    before = signal.getsignal(number)
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo())
    given_back = []

    def ask() -> None:
        signal.raise_signal(number)
        given_back.append(signal.getsignal(number))

    lines = watched(Interfering(detector, [ask]), folder, out, clock)
    assert [line["image"] for line in lines] == ["a.png"]
    assert given_back == [before]
    assert [line["image"] for line in watched(detector, folder, out, clock)] == ["b.png"]
    assert signal.getsignal(number) == before


def test_a_stop_during_the_rest_is_soon_heard(detector, folder, out, clock):
    clock.at(1, lambda: signal.raise_signal(signal.SIGTERM))
    with Watch(detector, folder, out) as watch:
        assert list(watch.lines(every=3600)) == []
    assert clock.now < 2


def test_a_photo_whose_heat_map_could_not_be_written_is_left_to_the_next_watch(
    detector, folder, out, clock
):
    (folder / "a.png").write_bytes(photo())
    out.mkdir()
    (out / OVERLAYS).write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        watched(detector, folder, out, clock)
    assert told(out) == []
    (out / OVERLAYS).unlink()
    assert len(watched(detector, folder, out, clock)) == 1


def test_a_folder_is_refused_that_is_not_there_or_that_the_watch_would_write_into(detector, tmp_path):
    with pytest.raises(DatasetError, match="is no folder"):
        Watch(detector, tmp_path / "absent", tmp_path / "found")
    inside = tmp_path / "found" / "overlays"
    inside.mkdir(parents=True)
    for folder in (inside.parent, inside):
        with pytest.raises(DatasetError, match="which is written"):
            Watch(detector, folder, tmp_path / "found")


def test_two_watches_into_one_folder_are_refused_and_two_of_one_folder_are_not(detector, folder, out):
    with Watch(detector, folder, out):
        with pytest.raises(ArtifactError, match="another watch"):
            Watch(detector, folder, out)
        with Watch(detector, folder, out.with_name("other")):
            pass
    shutil.rmtree(out)
