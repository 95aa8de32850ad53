from __future__ import annotations

import itertools
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from blemish import artifacts
from blemish.artifacts import CARD, SCHEMA, WEIGHTS, load_artifact, read_card, save_artifact
from blemish.errors import ArtifactError

Tensors = dict[str, Tensor]
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([True, False])}
OTHERS = {"c": torch.ones(3)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path):
    save_artifact(tmp_path / "model", TENSORS, {"kind": "toy", "größe": 3})
    tensors, card = load_artifact(tmp_path / "model")
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert card["kind"] == "toy"
    assert card["größe"] == 3
    assert card["schema"] == SCHEMA


def test_an_artifact_is_two_files_that_anybody_can_read(tmp_path):
    save_artifact(tmp_path / "model", TENSORS, {})
    assert names(tmp_path / "model") == [CARD, WEIGHTS]
    assert load_file(tmp_path / "model" / WEIGHTS).keys() == TENSORS.keys()
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o755


def test_tensors_that_are_views_are_saved_as_they_look(tmp_path):
    view = torch.arange(12.0).view(3, 4).t()[1:]
    save_artifact(tmp_path / "model", {"view": view}, {})
    assert torch.equal(load_artifact(tmp_path / "model")[0]["view"], view)


def test_saving_again_replaces_the_old_model_and_leaves_nothing_behind(tmp_path):
    save_artifact(tmp_path / "model", TENSORS, {"turn": 1})
    save_artifact(tmp_path / "model", {"c": torch.ones(1)}, {"turn": 2})
    tensors, card = load_artifact(tmp_path / "model")
    assert list(tensors) == ["c"]
    assert card["turn"] == 2
    assert names(tmp_path) == ["model"]


def test_a_folder_that_is_no_model_is_never_overwritten(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match="exists and is not a saved model"):
        save_artifact(tmp_path / "model", TENSORS, {})
    assert (tmp_path / "model" / "thesis.tex").read_text() == "years of work"


def test_an_error_while_saving_leaves_the_old_model_and_nothing_else(tmp_path, monkeypatch):
    save_artifact(tmp_path / "model", TENSORS, {"turn": 1})
    with pytest.raises(TypeError):
        save_artifact(tmp_path / "model", TENSORS, {"turn": object()})

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        save_artifact(tmp_path / "model", TENSORS, {"turn": 2})
    assert load_artifact(tmp_path / "model")[1]["turn"] == 1
    assert names(tmp_path) == ["model"]


class KillError(BaseException):
    """Stands for SIGKILL: nothing works any more, not even tidying up."""


def at_each_name(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Call `act` before and after whatever changes a name in a folder."""
    for name in ("rename", "replace", "unlink", "rmdir"):
        original = getattr(os, name)

        def watched(*places: Any, original: Callable[..., None] = original, **options: Any) -> None:
            act()
            original(*places, **options)
            act()

        monkeypatch.setattr(os, name, watched)


def save_until(moment: int, monkeypatch: pytest.MonkeyPatch, folder: Path, tensors: Tensors) -> bool:
    """Save a model, but be killed at the given moment; return whether that moment came."""
    moments = itertools.count()

    def die() -> None:
        if next(moments) >= moment:
            raise KillError

    with monkeypatch.context() as patch:
        at_each_name(patch, die)
        try:
            save_artifact(folder, tensors, {"turn": 2})
        except KillError:
            return True
    return False


def whole(folder: Path, second: Tensors) -> int:
    """Return the turn of the model that is read, 1 or 2, after a look at its weights."""
    tensors, card = load_artifact(folder)
    expected = TENSORS if card["turn"] == 1 else second
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    return card["turn"]


@pytest.mark.parametrize("second", [OTHERS, TENSORS], ids=["other weights", "the same weights"])
def test_a_kill_at_any_moment_of_replacing_leaves_a_whole_model_that_can_be_replaced(
    tmp_path, monkeypatch, second
):
    turns = []
    for moment in itertools.count():
        folder = tmp_path / str(moment) / "model"
        save_artifact(folder, TENSORS, {"turn": 1})
        if not save_until(moment, monkeypatch, folder, second):
            break
        turns.append(whole(folder, second))
        save_artifact(folder, TENSORS, {"turn": 1})
        assert whole(folder, second) == 1
        assert names(folder) == [CARD, WEIGHTS]
    assert turns == sorted(turns)
    assert set(turns) == {1, 2}


def test_whoever_reads_while_a_model_is_replaced_gets_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    save_artifact(folder, TENSORS, {"turn": 1})
    turns: list[int] = []
    with monkeypatch.context() as patch:
        at_each_name(patch, lambda: turns.append(whole(folder, OTHERS)))
        save_artifact(folder, OTHERS, {"turn": 2})
    assert turns == sorted(turns)
    assert set(turns) == {1, 2}
    assert names(folder) == [CARD, WEIGHTS]


def test_a_model_replaced_between_reading_its_two_files_is_read_anew(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    save_artifact(folder, TENSORS, {"turn": 1})

    def overtaken(path: Path) -> dict[str, Any]:
        card = read_card(path)
        monkeypatch.setattr(artifacts, "read_card", read_card)
        save_artifact(path, OTHERS, {"turn": 2})
        return card

    monkeypatch.setattr(artifacts, "read_card", overtaken)
    assert whole(folder, OTHERS) == 2


def test_a_model_that_was_never_finished_does_not_appear(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    assert save_until(0, monkeypatch, folder, OTHERS)
    assert not folder.exists()
    save_artifact(folder, TENSORS, {"turn": 1})
    assert whole(folder, OTHERS) == 1


def test_the_card_of_a_loaded_model_can_be_saved_with_other_weights(tmp_path):
    save_artifact(tmp_path / "model", TENSORS, {"turn": 2})
    _, card = load_artifact(tmp_path / "model")
    save_artifact(tmp_path / "model", OTHERS, card)
    assert whole(tmp_path / "model", OTHERS) == 2


@pytest.mark.parametrize("digest", [None, 5, "", "a\0b", "../" + 300 * "x"])
def test_a_card_with_a_digest_that_is_none_is_refused(tmp_path, digest):
    save_artifact(tmp_path / "model", TENSORS, {})
    (tmp_path / "model" / CARD).write_text(json.dumps({"schema": SCHEMA, "weights_sha256": digest}))
    with pytest.raises(ArtifactError, match="copy the whole folder again"):
        load_artifact(tmp_path / "model")


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
def test_a_model_with_a_file_missing_is_refused(tmp_path, name):
    save_artifact(tmp_path / "model", TENSORS, {})
    (tmp_path / "model" / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        load_artifact(tmp_path / "model")


def test_a_model_cut_short_on_the_way_is_refused(tmp_path):
    save_artifact(tmp_path / "model", TENSORS, {})
    weights = tmp_path / "model" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="copy the whole folder again"):
        load_artifact(tmp_path / "model")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="is not a saved model"):
        load_artifact(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["{", "[1]", "{}", '{"schema": "1"}', '"schema"'])
def test_a_card_that_is_no_card_is_refused(tmp_path, content):
    (tmp_path / CARD).write_text(content)
    with pytest.raises(ArtifactError):
        read_card(tmp_path)


def test_a_card_of_a_newer_version_is_refused_with_the_way_out(tmp_path):
    (tmp_path / CARD).write_text(json.dumps({"schema": SCHEMA + 1}))
    with pytest.raises(ArtifactError, match="pip install --upgrade blemish"):
        read_card(tmp_path)
