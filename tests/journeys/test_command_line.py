"""The command line as a user meets it: data on stdout, talk on stderr, and a code."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blemish.cli import main, verbs
from blemish.config import TrainingConfig, write_yaml
from blemish.data import write_sample
from blemish.errors import BlemishError, DatasetError
from blemish.training import Plan
from commands import strict

pytestmark = pytest.mark.usefixtures("restored_logger")


@pytest.fixture
def config(tiny, tmp_path: Path) -> Path:
    write_yaml(tmp_path / "tiny.yaml", tiny())
    return tmp_path / "tiny.yaml"


def test_from_photos_to_a_report(blemish, product, config, tmp_path):
    run = tmp_path / "run"

    checked = blemish("check", product)
    assert checked.code == 0
    assert checked.lines[-1]["ok"] is True
    assert checked.lines[-1]["counts"]["train"] == {"good": 12}

    words = ["train", product, "--out", run, "--config", config, "--device", "cpu"]
    trained = blemish(*words, "--iterations", 4, "--false-alarm-rate", 0.25)
    assert trained.code == 0
    (line,) = trained.lines
    assert line["detector"] == str(run / "detector")
    assert line["iterations"] == 4

    again = blemish(*words, "--iterations", 4, "--false-alarm-rate", 0.25)
    assert again.code == 2
    assert "--resume" in again.talk

    resumed = blemish(*words, "--iterations", 4, "--false-alarm-rate", 0.25, "--resume")
    assert resumed.lines[0]["threshold"] == line["threshold"]

    overlays = tmp_path / "overlays"
    inspected = blemish(
        "inspect", run / "detector", product / "test", "--overlays", overlays, "--device", "cpu"
    )
    assert inspected.code == 0
    assert len(inspected.lines) == 6
    for verdict in inspected.lines:
        assert verdict["threshold"] == line["threshold"]
        assert verdict["anomalous"] == (verdict["score"] >= verdict["threshold"])
        assert 0 < verdict["p_value"] <= 1
        with Image.open(verdict["overlay"]) as picture:
            assert picture.size == (128, 64)

    evaluated = blemish("evaluate", run / "detector", product, "--device", "cpu")
    assert evaluated.code == 0
    figures = strict((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    assert figures["photos"] == {"good": 3, "scratch": 3}
    assert evaluated.lines[0]["image_auroc"] == figures["metrics"]["image_auroc"]
    scores = {line["image"]: line["score"] for line in inspected.lines}
    good, bad = ([s for n, s in scores.items() if kind in n] for kind in ("/good/", "/scratch/"))
    pairs = [(b > g) + 0.5 * (b == g) for g in good for b in bad]
    assert figures["metrics"]["image_auroc"] == pytest.approx(np.mean(pairs))
    page = (run / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "scratch/000.png" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_doctor_tells_what_the_machine_offers(blemish):
    (facts,) = blemish("doctor").lines
    assert facts["packages"]["torch"]
    assert facts["weights"]["efficientnet-lite0 (ImageNet)"].endswith(".pth")
    assert facts["presets"]["paper"]["million_weights"] == pytest.approx(131.65 + 28.37, abs=0.011)
    assert facts["presets"]["fast"]["million_weights"] < facts["presets"]["base"]["million_weights"]


def test_another_threshold_or_rate_changes_verdicts_and_not_scores(blemish, run_folder, product):
    words = ["inspect", run_folder / "detector", product / "test", "--device", "cpu"]
    plain, all_bad, strictly = (
        blemish(*words, *more).lines for more in ([], ["--threshold", 0], ["--false-alarm-rate", 0.9])
    )
    scores = [line["score"] for line in plain]
    assert [line["score"] for line in all_bad] == [line["score"] for line in strictly] == scores
    assert all(line["anomalous"] and line["threshold"] == 0 for line in all_bad)
    assert strictly[0]["threshold"] < plain[0]["threshold"]


def test_heat_maps_among_the_photos_are_not_inspected_the_next_time(
    blemish, run_folder, product, tmp_path
):
    shutil.copytree(product / "test" / "good", tmp_path / "photos")
    words = ["inspect", run_folder / "detector", tmp_path / "photos", "--device", "cpu"]
    words += ["--overlays", tmp_path / "photos" / "maps"]
    first, again = blemish(*words), blemish(*words)
    assert first.lines == again.lines
    assert len(first.lines) == 3


def test_the_threshold_is_set_anew_on_good_photos(blemish, run_folder, product, tmp_path):
    out, good = tmp_path / "new", product / "test" / "good"
    words = ["calibrate", run_folder / "detector", good, "--out", out, "--device", "cpu"]
    found = blemish(*words, "--false-alarm-rate", 0.25)
    (line,) = found.lines
    assert (found.code, line["photos"], line["parts"], line["left_out"]) == (0, 3, 3, 0)
    assert line["false_alarm_rate"] == line["promised"] == 0.25
    later = blemish("inspect", out, good, "--device", "cpu")
    assert {verdict["threshold"] for verdict in later.lines} == {line["threshold"]}
    assert not any(verdict["anomalous"] for verdict in later.lines)
    again = blemish(*words)
    assert again.code == 2
    assert "exists" in again.talk


def test_epochs_are_passes_over_the_good_photos(blemish, product, config, tmp_path):
    words = ["train", product, "--out", tmp_path / "run", "--config", config, "--device", "cpu"]
    assert blemish(*words, "--epochs", 1).lines[0]["iterations"] == 12 // 4


def test_settings_come_from_preset_file_words_and_options_in_that_order(
    blemish, product, config, tmp_path
):
    words = ["train", product, "--out", tmp_path / "run", "--config", config, "--iterations", 1]
    words += ["--set", "training.seed=5", "--set", "training.clip=0.5", "--seed", 7, "--device", "cpu"]
    assert blemish(*words).lines[0]["seed"] == 7
    written = (tmp_path / "run" / "config.yaml").read_text()
    assert "seed: 7" in written
    assert "clip: 0.5" in written
    assert "size: 64" in written


def test_every_setting_that_a_plan_knows_reaches_it(blemish, product, config, tmp_path, monkeypatch):
    told: list[Plan] = []

    def stop(*words: object, **_: object) -> None:
        told.extend(word for word in words if isinstance(word, Plan))
        raise BlemishError("far enough")

    monkeypatch.setattr(verbs, "train_detector", stop)
    given = {
        "validations": 3,
        "patience": 5,
        "warmup": 7,
        "lr_iterations": 90,
        "decay": 0.25,
        "clip": 0.5,
        "ema": 0.875,
        "checkpoint_seconds": 12.5,
    }
    assert given.keys() == {field.name for field in fields(Plan)} & TrainingConfig.model_fields.keys()
    sets = [word for name, value in given.items() for word in ("--set", f"training.{name}={value}")]
    words = ["train", product, "--out", tmp_path / "run", "--config", config, "--iterations", 1]
    assert "far enough" in blemish(*words, *sets).talk
    assert told == [Plan(iterations=1, **given)]


def test_one_broken_file_stops_neither_the_others_nor_the_exit_code(
    blemish, run_folder, product, tmp_path
):
    (tmp_path / "broken.png").write_bytes(b"no photo")
    good = product / "test" / "good" / "000.png"
    found = blemish("inspect", run_folder / "detector", good, tmp_path / "broken.png", good)
    assert found.code == 2
    assert ["error" in line for line in found.lines] == [False, True, False]
    assert found.lines[1]["image"] == str(tmp_path / "broken.png")
    assert found.lines[1]["hint"]
    assert found.lines[0] == found.lines[2]


def test_problems_of_a_dataset_are_lines_with_their_fix(blemish, product, tmp_path):
    data = Path(shutil.copytree(product, tmp_path / "nut"))
    (data / "train" / "good" / "000.png").write_bytes(b"")
    found = blemish("check", data)
    assert found.code == 2
    problems = [line for line in found.lines[:-1] if line["severity"] == "error"]
    assert [problem["file"].endswith("000.png") for problem in problems] == [True]
    assert problems[0]["fix"]


@pytest.fixture
def places(product, run_folder, config, tmp_path) -> dict[str, str]:
    """Names that the wrong commands below may use."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "list.yaml").write_text("- 1")
    for index in range(4):
        photo = np.full((64, 64, 3), index, np.uint8)
        write_sample(tmp_path / "untested", "good", str(index), photo, split="train")
    return {
        "data": str(product),
        "detector": str(run_folder / "detector"),
        "run": str(run_folder),
        "config": str(config),
        "tmp": str(tmp_path),
    }


TRAIN = "train {data} --out {tmp}/run --config {config} --iterations 1 --device cpu"
WRONG = [
    "check {tmp}/nowhere",
    "check {tmp}/file",
    "train {tmp}/nowhere --out {tmp}/run",
    "train {tmp}/empty --out {tmp}/run",
    "train {data} --out {tmp}/file --config {config} --iterations 1",
    "train {data} --out {tmp}/file/run --config {config} --iterations 1",
    TRAIN + " --preset huge",
    TRAIN + " --set training.sead=1",
    TRAIN + " --set training.seed",
    TRAIN + " --set training.seed=many",
    TRAIN + " --set denoiser.heads=3",
    TRAIN + " --set training.normals=3 --set training.accumulation=2",
    TRAIN + " --set synthesis.opacity=[0.8,0.2]",
    TRAIN + " --config {tmp}/nowhere.yaml",
    TRAIN + " --config {tmp}/list.yaml",
    TRAIN + " --textures {tmp}/nowhere",
    TRAIN + " --textures {tmp}/empty",
    TRAIN + " --track notebook",
    TRAIN + " --device toaster",
    TRAIN + " --device cuda:99",
    TRAIN + " --iterations 0",
    TRAIN + " --iterations many",
    TRAIN + " --epochs 2",
    TRAIN + " --false-alarm-rate 1",
    "train {data} --out {tmp}/run --budget 5x",
    "train {data} --out {tmp}/run --budget infm",
    "train {data}",
    "inspect {tmp}/nowhere {data}",
    "inspect {run} {data}",
    "inspect {detector} {tmp}/nowhere.png",
    "inspect {detector} {tmp}/empty",
    "inspect {detector}",
    "inspect {detector} {data}/test --threshold nan",
    "inspect {detector} {data}/test --threshold high",
    "inspect {detector} {data}/test --batch 0",
    "inspect {detector} {data}/test --device toaster",
    "inspect {detector} {data}/test/good --overlays {tmp}/file",
    "inspect {detector} {data}/test/good --overlays {data}/test/good",
    "evaluate {detector} {tmp}/nowhere",
    "evaluate {detector} {tmp}/untested",
    "evaluate {tmp}/empty {data}",
    "evaluate {detector} {data} --out {tmp}/file",
    "polish {data}",
    "",
]


@pytest.mark.parametrize("command", WRONG)
def test_what_a_user_can_get_wrong_ends_with_code_2_and_a_sentence(blemish, places, command):
    found = blemish(*command.format(**places).split())
    assert found.code == 2
    told = [line for line in found.lines if line.get("severity") == "error"]
    assert "error" in found.talk or told
    assert "Traceback" not in found.talk
    assert not [line for line in found.lines if "detector" in line or "report" in line]


def test_tracebacks_are_there_for_those_who_ask(places):
    with pytest.raises(DatasetError, match="does not exist"):
        main(["train", "--debug", places["tmp"] + "/nowhere", "--out", places["tmp"] + "/run"])


@pytest.mark.parametrize("command", ["--help", "train --help", "--version"])
def test_help_is_on_stdout_with_code_0(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main(command.split())
    assert stop.value.code == 0
    assert "blemish" in capsys.readouterr().out
