from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from blemish import hardware, randomness, runtime
from blemish.errors import ArtifactError, ConfigError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_private_stream_depends_on_its_names_and_on_nothing_else():
    first = torch.rand(3, generator=randomness.generator(0, "masks", 7))
    torch.rand(5)
    assert torch.equal(torch.rand(3, generator=randomness.generator(0, "masks", 7)), first)
    first = randomness.numpy_generator(0, "masks", 7).random(3)
    np.testing.assert_array_equal(randomness.numpy_generator(0, "masks", 7).random(3), first)


def test_streams_of_other_seeds_or_names_differ():
    keys = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", 1), (0, "a", "1"), (0, "a1"), (0, 1), (0, 1, 1)]
    seeds = {randomness.stream_seed(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_seed_is_the_first_63_bits_of_the_hash_of_its_json():
    digest = hashlib.sha256(b'[3,"masks",7]').hexdigest()
    assert randomness.stream_seed(3, "masks", 7) == int(digest[:16], 16) >> 1


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "file.bin"
    with runtime.atomic_write(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert names(path.parent) == ["file.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write() -> None:
        with runtime.atomic_write(path, "w") as file:
            file.write("new")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_written_file_has_the_permissions_that_the_user_gives_new_files(tmp_path):
    previous = os.umask(0o027)
    try:
        with runtime.atomic_write(tmp_path / "file") as file:
            file.write(b"")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_one_program_at_a_time_writes_to_a_folder(tmp_path, written_elsewhere):
    with written_elsewhere(tmp_path / "run"):
        with pytest.raises(ArtifactError, match="another program"), runtime.alone(tmp_path / "run"):
            pass
        with runtime.alone(tmp_path / "other"):
            pass


def test_a_killed_program_keeps_nobody_out(tmp_path, written_elsewhere):
    with written_elsewhere(tmp_path / "run") as other:
        other.kill()
        other.wait()
        with runtime.alone(tmp_path / "run"):
            pass
    with runtime.alone(tmp_path / "run"):
        pass


def test_json_is_strict_and_readable(tmp_path):
    runtime.write_json(tmp_path / "a.json", {"größe": 1})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "größe" in text
    assert json.loads(text) == {"größe": 1}
    with pytest.raises(ValueError, match="JSON"):
        runtime.write_json(tmp_path / "b.json", {"loss": float("nan")})
    assert names(tmp_path) == ["a.json"]


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"blemish" * 100_000)
    assert runtime.file_sha256(tmp_path / "x") == hashlib.sha256(b"blemish" * 100_000).hexdigest()


def test_precision_is_what_is_asked_for():
    where = torch.device("cpu")
    assert hardware.precision("fp32", where) == torch.float32
    assert hardware.precision("bf16", where) == torch.bfloat16


@pytest.mark.parametrize("fast", [True, False])
def test_automatic_precision_is_bfloat16_exactly_where_that_is_fast(monkeypatch, fast):
    monkeypatch.setattr(hardware, "has_fast_bfloat16", lambda _: fast)
    expected = torch.bfloat16 if fast else torch.float32
    assert hardware.precision("auto", torch.device("cpu")) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_run_in_the_format_asked_for(dtype):
    with hardware.autocast(torch.device("cpu"), dtype):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_the_device_named_is_the_device_used():
    assert hardware.device("cpu") == torch.device("cpu")
    assert hardware.device().type in ("cuda", "mps", "cpu")


@pytest.mark.parametrize("name", ["toaster", "cpu:x", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ConfigError, match=name):
        hardware.device(name)


@pytest.fixture
def cards(monkeypatch):
    """A machine with four graphics cards; the list of those that were made the current one."""
    chosen = []
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    return chosen


def test_without_other_processes_the_current_card_is_used_and_stays_the_current_one(cards):
    assert hardware.device() == hardware.device("cuda") == torch.device("cuda")
    assert not cards


def test_a_card_that_is_named_becomes_the_current_one_which_accelerate_takes(cards):
    assert hardware.device("cuda:2") == torch.device("cuda", 2)
    assert cards == [torch.device("cuda", 2)]


@pytest.mark.parametrize("name", ["auto", "cuda"])
@pytest.mark.parametrize(("rank", "card"), [(0, 0), (3, 3), (5, 1)])
def test_each_of_several_processes_gets_the_card_of_its_rank(cards, monkeypatch, name, rank, card):
    """As accelerate: more processes than cards begin again at the first."""
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    assert hardware.device(name) == torch.device("cuda", card)
    assert cards == [torch.device("cuda", card)]


def test_several_processes_are_not_sent_to_one_card(cards, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert hardware.device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="LOCAL_RANK 1 was told to use cuda:0"):
        hardware.device("cuda:0")
    assert cards == [torch.device("cuda", 1)]


def test_the_rank_says_nothing_about_other_devices(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert hardware.device("cpu") == torch.device("cpu")


def test_keeping_memory_may_be_asked_for_anywhere():
    runtime.keep_memory()
    assert float(torch.ones(1 << 20).sum()) == 1 << 20


def test_talk_goes_to_stderr_and_details_only_when_asked_for(capsys, restored_logger):
    for verbosity, expected in [(0, "news\n"), (1, "detail\nnews\n")]:
        runtime.configure_logging(verbosity)
        restored_logger.debug("detail")
        restored_logger.info("news")
        captured = capsys.readouterr()
        assert captured.err == expected
        assert captured.out == ""
