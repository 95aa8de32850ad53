from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from blemish.cli import parser
from blemish.cli.arguments import duration, finite, positive, share


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5m", 90)])
def test_durations_are_read_in_their_unit(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["90", "m", "-3m", "0s", "nanm", "infh", "3d", "", "3 weeks"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="90s, 30m or 2h"):
        duration(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "²"])
def test_counts_are_whole_and_at_least_one(text):
    assert positive("12") == 12
    with pytest.raises(argparse.ArgumentTypeError):
        positive(text)


@pytest.mark.parametrize("text", ["0", "1", "-0.1", "nan", "half"])
def test_shares_lie_strictly_between_none_and_all(text):
    assert share("0.05") == 0.05
    with pytest.raises(argparse.ArgumentTypeError):
        share(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "high", ""])
def test_thresholds_are_finite_numbers(text):
    assert finite("-0.25") == -0.25
    with pytest.raises(argparse.ArgumentTypeError):
        finite(text)


def test_a_run_takes_one_measure_of_its_length():
    options = parser().parse_args(["train", "data", "--out", "run", "--budget", "2m"])
    assert (options.budget, options.iterations, options.epochs) == (120, None, None)
    assert options.out == Path("run")
    with pytest.raises(SystemExit):
        parser().parse_args(["train", "data", "--out", "run", "--budget", "2m", "--epochs", "3"])


def test_a_threshold_and_a_rate_of_false_alarms_exclude_each_other(capsys):
    words = ["inspect", "detector", "photos", "--threshold", "0.5"]
    assert parser().parse_args(words).threshold == 0.5
    with pytest.raises(SystemExit):
        parser().parse_args([*words, "--false-alarm-rate", "0.1"])
    assert "not allowed with argument --threshold" in capsys.readouterr().err


def test_the_help_of_calibrate_says_what_counts_as_a_part(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(["calibrate", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "Photos of one part count as one where PyTorch is installed" in told


def test_help_waits_for_no_heavy_import():
    program = (
        "import sys\nfrom blemish.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0
    assert b"inspect" in done.stdout
