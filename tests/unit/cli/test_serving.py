from __future__ import annotations

import argparse
import os
import subprocess
import sys

import pytest

from blemish.cli import serving

pytestmark = pytest.mark.usefixtures("restored_logger")


def test_a_key_that_clients_cannot_send_is_refused_at_the_start(
    blemish, run_folder, tmp_path, monkeypatch
):
    file = tmp_path / "key"
    file.write_text("wörd\n", encoding="utf-8")
    found = blemish("serve", run_folder / "detector", "--key-file", file)
    assert (found.code, "printable ASCII" in found.talk) == (2, True)
    monkeypatch.setenv(serving.KEY, "wörd")
    found = blemish("serve", run_folder / "detector")
    assert (found.code, "printable ASCII" in found.talk) == (2, True)


@pytest.mark.parametrize(("value", "key"), [(" word\n", "word"), (" ", None)])
def test_spaces_around_a_key_are_no_part_of_it(monkeypatch, value, key):
    monkeypatch.setenv(serving.KEY, value)
    assert serving._key(argparse.Namespace(key_file=None)) == key


def test_a_watch_goes_on_when_nobody_reads_what_it_prints(run_folder, product, tmp_path):
    command = [sys.executable, "-m", "blemish", "watch", run_folder / "detector", product / "test/good"]
    command += ["--out", tmp_path / "out", "--once", "--device", "cpu", "--no-overlays"]
    read, write = os.pipe()
    os.close(read)
    found = subprocess.run(
        list(map(str, command)), stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert found.returncode == 0, found.stderr
    assert "nobody reads the output any more" in found.stderr
    lines = (tmp_path / "out" / "findings.jsonl").read_text().splitlines()
    assert len(lines) == len(list((product / "test/good").iterdir()))
