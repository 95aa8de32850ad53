from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from blemish import artifacts
from blemish.artifacts import CARD, SCHEMA, WEIGHTS, load_artifact, read_card, save_artifact
from blemish.errors import ArtifactError

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([True, False])}


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

    monkeypatch.setattr(artifacts, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        save_artifact(tmp_path / "model", TENSORS, {"turn": 2})
    assert load_artifact(tmp_path / "model")[1]["turn"] == 1
    assert names(tmp_path) == ["model"]


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
