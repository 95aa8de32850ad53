from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("restored_logger")

BROKEN = "cannot promise a false-alarm rate of"


@pytest.fixture
def inspect(blemish, run_folder, product):
    photos = product / "test" / "good"
    return lambda *more: blemish("inspect", run_folder / "detector", photos, "--device", "cpu", *more)


@pytest.mark.parametrize(("rate", "said"), [("0.75", 0), ("0.001", 1)])
def test_a_rate_that_cannot_be_promised_is_said_once(inspect, rate, said):
    found = inspect("--false-alarm-rate", rate)
    assert (found.code, len(found.lines), found.talk.count(BROKEN)) == (0, 3, said)


def test_it_is_said_of_the_detectors_own_rate_too(inspect, detector):
    assert detector.calibration.warning() is not None
    assert inspect().talk.count(BROKEN) == 1


def test_a_watch_says_it_as_well(blemish, run_folder, tmp_path: Path):
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    words = ["watch", run_folder / "detector", incoming, "--out", tmp_path / "out", "--once"]
    found = blemish(*words, "--device", "cpu", "--false-alarm-rate", "0.001")
    assert (found.code, found.talk.count(BROKEN)) == (0, 1)
