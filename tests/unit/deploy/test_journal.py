from __future__ import annotations

import errno
import fcntl
import json
from pathlib import Path

import pytest

from blemish.deploy.journal import FINDINGS, Journal, Look
from blemish.errors import ArtifactError

LOOK, LATER = Look(10, 1_700_000_000_123_456_789, 2), Look(10, 1_700_000_000_123_456_790, 2)


def finding(name: str, digest: str | None = "abc") -> dict:
    return {"image": name, "sha256": digest, "score": 0.5}


@pytest.fixture
def written(tmp_path: Path) -> bytes:
    """What a journal of three lines wrote into the folder."""
    journal = Journal(tmp_path)
    for name in ("a.png", "deep/ö.png", "c.png"):
        journal.add(finding(name), LOOK)
    journal.close()
    return (tmp_path / FINDINGS).read_bytes()


def test_a_finding_is_on_the_disk_when_it_is_returned(tmp_path):
    journal = Journal(tmp_path)
    line = journal.add(finding("a.png"), LOOK)
    assert json.loads((tmp_path / FINDINGS).read_bytes()) == line
    assert line == {**finding("a.png"), "look": list(LOOK)}
    journal.close()


def test_the_next_journal_knows_what_the_last_one_did(tmp_path, written):
    journal = Journal(tmp_path)
    assert journal.has("deep/ö.png", LOOK)
    assert journal.tells("deep/ö.png", LOOK)
    assert not journal.has("deep/ö.png", LATER)
    assert not journal.has("ö.png", LOOK)
    journal.close()
    assert (tmp_path / FINDINGS).read_bytes() == written


@pytest.mark.usefixtures("written")
def test_the_same_content_under_a_newer_date_is_met_again_and_known_from_then_on(tmp_path):
    journal = Journal(tmp_path)
    assert not journal.has_met("a.png", "other", LATER)
    assert not journal.has("a.png", LATER)
    assert journal.has_met("a.png", "abc", LATER)
    assert journal.has("a.png", LATER)
    journal.close()


def test_a_file_that_could_not_be_read_is_told_of_and_not_done(tmp_path):
    first = Journal(tmp_path)
    first.add(finding("a.png", None), LOOK)
    first.close()
    second = Journal(tmp_path)
    assert second.tells("a.png", LOOK)
    assert not second.has("a.png", LOOK)
    second.close()


@pytest.mark.usefixtures("written")
def test_what_was_done_stays_done_when_the_file_cannot_be_read_for_a_while(tmp_path):
    journal = Journal(tmp_path)
    journal.add(finding("a.png", None), LATER)
    assert journal.has("a.png", LOOK)
    journal.close()


def test_a_last_line_that_was_cut_anywhere_is_dropped_and_the_others_stay(
    tmp_path, written, caplog, restored_logger
):
    restored_logger.propagate = True
    whole = written[: written[:-1].rfind(b"\n") + 1]
    for length in range(len(whole), len(written)):
        (tmp_path / FINDINGS).write_bytes(written[:length])
        caplog.clear()
        journal = Journal(tmp_path)
        assert ("middle of a line" in caplog.text) == (length > len(whole))
        assert journal.has("deep/ö.png", LOOK)
        assert not journal.has("c.png", LOOK)
        journal.add(finding("c.png"), LOOK)
        journal.close()
        assert (tmp_path / FINDINGS).read_bytes() == written


@pytest.mark.parametrize("left", [bytes(300), bytes(300) + b"\n", b"\xff\xfe\n"])
def test_what_a_power_cut_leaves_of_the_last_line_is_dropped(tmp_path, written, left):
    (tmp_path / FINDINGS).write_bytes(written + left)
    Journal(tmp_path).close()
    assert (tmp_path / FINDINGS).read_bytes() == written


@pytest.mark.parametrize(
    "foreign", [b'{"image": "a.png", "score": 1}\n', b"[]\n", b"1\n", b"no json\n{}\n"]
)
def test_lines_that_are_not_ours_are_refused_and_left_as_they_are(tmp_path, written, foreign):
    (tmp_path / FINDINGS).write_bytes(written + foreign)
    for _ in range(2):  # the lock is free again
        with pytest.raises(ArtifactError, match="line 4 is not what") as caught:
            Journal(tmp_path)
        assert caught.value.hint
    assert (tmp_path / FINDINGS).read_bytes() == written + foreign


def test_a_folder_takes_one_journal_at_a_time(tmp_path):
    first = Journal(tmp_path)
    with pytest.raises(ArtifactError, match="another watch writes into"):
        Journal(tmp_path)
    first.close()
    Journal(tmp_path).close()


def test_where_a_file_system_has_no_locks_nobody_is_kept_out(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    first, second = Journal(tmp_path), Journal(tmp_path)
    first.close()
    second.close()
