from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blemish.cli import main, verbs
from blemish.config import InspectorConfig, preset
from blemish.errors import BlemishError

pytestmark = pytest.mark.usefixtures("restored_logger")


@pytest.fixture
def train(blemish, product, tmp_path: Path, monkeypatch):
    """Return what `train` says before training, and the settings that would be trained."""
    told: list[InspectorConfig] = []

    def stop(_: object, settings: InspectorConfig, *__: object, **___: object) -> None:
        told.append(settings)
        raise BlemishError("far enough")

    monkeypatch.setattr(verbs, "train_detector", stop)
    (tmp_path / "base.yaml").write_text("preset: base\ntraining: {clip: 0.5}")

    def run(*words: str):
        words = tuple(str(tmp_path / w) if w.endswith(".yaml") else w for w in words)
        return blemish("train", product, "--out", tmp_path / "run", "--iterations", 1, *words), told

    return run


@pytest.mark.parametrize(
    ("words", "name", "clip"),
    [
        ([], "fast", 1.0),
        (["--preset", "paper"], "paper", 1.0),
        (["--set", "preset=base"], "base", 1.0),
        (["--config", "base.yaml"], "base", 0.5),
        (["--config", "base.yaml", "--preset", "base", "--set", "preset=base"], "base", 0.5),
    ],
)
def test_the_preset_that_is_named_is_the_one_that_is_trained(train, words, name, clip):
    _, (settings,) = train(*words)
    assert settings == preset(name, {"training": {"clip": clip}})


@pytest.mark.parametrize(
    "words",
    [
        ["--preset", "fast", "--config", "base.yaml"],
        ["--preset", "fast", "--set", "preset=base"],
        ["--config", "base.yaml", "--set", "preset=fast"],
    ],
)
def test_two_presets_are_refused(train, words):
    said, told = train(*words)
    assert (said.code, told) == (2, [])
    assert "the settings name two presets: " in said.talk
    assert "hint" in said.talk


@pytest.mark.parametrize("word", ["preset=huge", "preset=[base]", "preset=3"])
def test_a_preset_that_there_is_not_is_refused_wherever_it_is_named(train, word):
    said, told = train("--set", word)
    assert (said.code, told) == (2, [])
    assert "there is no preset" in said.talk


@pytest.mark.parametrize(
    ("detector", "words", "place"),
    [
        ("run/detector", [], "run/evaluation"),
        ("run/anew", [], "run/anew-evaluation"),
        ("run/edge", ["--out", "there"], "there"),
    ],
)
def test_detectors_in_one_folder_do_not_overwrite_each_others_report(
    blemish, product, monkeypatch, detector, words, place
):
    places: list[Path] = []
    monkeypatch.setattr(verbs.Detector, "load", lambda *_, **__: None)
    monkeypatch.setattr(verbs, "_evaluate", lambda _, __, out, ___: places.append(out) or {})
    assert blemish("evaluate", detector, product, *words).code == 0
    assert places == [Path(place)]


def test_from_within_its_folder_a_detector_is_called_by_the_folders_name(tmp_path, monkeypatch):
    (tmp_path / "anew").mkdir()
    monkeypatch.chdir(tmp_path / "anew")
    assert verbs._beside(Path()).name == "anew-evaluation"


def test_too_little_memory_on_the_card_is_a_sentence_that_says_what_takes_less(
    blemish, product, tmp_path, monkeypatch
):
    def run_out(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(verbs, "train_detector", run_out)
    words = ["train", product, "--out", tmp_path / "run", "--iterations", 1]
    said = blemish(*words)
    assert said.code == 2
    assert "too little memory: CUDA out of memory. Tried to allocate 2.00 GiB." in said.talk
    for less in ("training.accumulation", "--batch", "preset"):
        assert less in said.talk
    with pytest.raises(BlemishError, match="too little memory"):
        main([*map(str, words), "--debug"])


def test_other_errors_of_pytorch_are_not_taken_for_it(product, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(verbs, "train_detector", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["train", str(product), "--out", str(tmp_path / "run"), "--iterations", "1"])
