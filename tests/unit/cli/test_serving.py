from __future__ import annotations

import argparse

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
