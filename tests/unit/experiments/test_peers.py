from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blemish.data import read_dataset, write_png, write_sample
from blemish.errors import ConfigError, DependencyError, ImageError
from blemish.experiments import peers
from blemish.experiments.peer_training import Judged
from blemish.experiments.peers import PEERS, check_needs, main, write_maps
from blemish.experiments.score_maps import map_path, scored_maps
from blemish.records import Record

pytestmark = pytest.mark.usefixtures("restored_logger")

SHAPE = (10, 16)


class Brightness:
    """A stand-in for a trained detector: the map of a photo is its red channel, its score the sum."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def __call__(self, photo: np.ndarray) -> Judged:
        values = photo[..., 0].astype(np.float32) + self.offset
        return Judged(float(values.sum()), values, 0.001)


def mask() -> np.ndarray:
    found = np.zeros(SHAPE, np.bool_)
    found[2:6, 3:9] = True
    return found


def photo(level: int, drawn: np.ndarray | int = 0) -> np.ndarray:
    values = np.full((*SHAPE, 3), level, np.uint8)
    values[..., 0] += np.uint8(100) * np.asarray(drawn, np.uint8)
    return values


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for index in range(2):
        write_sample(root, "good", f"{index}", photo(index), split="train")
        write_sample(root, "good", f"t{index}", photo(10 + index), split="test")
        write_sample(root, "dent", f"{index}", photo(20 + index, mask()), mask(), split="test")
    return root


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put the stand-in where training is, and note what it was asked for."""
    asked: list[dict[str, Any]] = []

    def train(peer: peers.Peer, records: Sequence[Record], **settings: Any) -> Any:
        asked.append({"peer": peer, "records": records, **settings})
        return Brightness(), {"train_minutes": 0.5, "updates": 3}

    monkeypatch.setattr(peers, "train", train)
    return asked


@pytest.mark.parametrize("name", sorted(PEERS))
def test_each_model_has_one_length_and_pictures_have_an_argument(name: str) -> None:
    peer = PEERS[name]
    assert (peer.epochs > 0) != (peer.updates > 0)
    assert (peer.pictures is None) == (not peer.pictures_argument)


@pytest.mark.parametrize("name", sorted(name for name, peer in PEERS.items() if peer.weights))
def test_missing_weights_are_named_with_their_source_and_the_option(name: str, tmp_path: Path) -> None:
    need = PEERS[name].weights
    for given, found in ((None, "none were given"), (tmp_path / "w.pth", "w.pth")):
        with pytest.raises(DependencyError) as error:
            check_needs(name, given, tmp_path)
        for words in (name, need.what, need.source, "--weights FILE", found):
            assert words in str(error.value)


@pytest.mark.parametrize("name", sorted(name for name, peer in PEERS.items() if peer.pictures))
def test_missing_pictures_are_named_with_their_source_and_the_option(name: str, tmp_path: Path) -> None:
    need, weights = PEERS[name].pictures, tmp_path / "w.pth"
    weights.write_bytes(b"")
    given = weights if PEERS[name].weights else None
    with pytest.raises(DependencyError) as error:
        check_needs(name, given, None)
    for words in (name, need.what, need.source, "--pictures DIR"):
        assert words in str(error.value)
    check_needs(name, given, tmp_path)


def test_weights_that_a_model_has_no_use_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no use for"):
        check_needs("patchcore-lite", tmp_path / "w.pth", None)


def test_what_is_written_is_what_the_detector_said(data: Path, tmp_path: Path) -> None:
    dataset = read_dataset(data)
    rates = write_maps(Brightness(), dataset.test, tmp_path / "out", dataset.root)
    assert rates["network"] == pytest.approx(1000)
    assert rates["loop"] > 0
    for record in dataset.test:
        saved = np.load(map_path(tmp_path / "out", record))
        assert saved.dtype == np.float32
        assert saved.shape == SHAPE
    found = scored_maps(dataset.test, tmp_path / "out", dataset.root)
    area, lit = mask().size, 100 * int(mask().sum())
    assert found.images == {"good": [10 * area, 11 * area], "dent": [20 * area + lit, 21 * area + lit]}
    assert set(found.figures().values()) == {1.0}


def test_scores_that_are_not_finite_are_refused(data: Path, tmp_path: Path) -> None:
    dataset = read_dataset(data)
    with pytest.raises(ImageError, match="not finite"):
        write_maps(Brightness(np.nan), dataset.test, tmp_path / "out", dataset.root)


def test_the_command_line_trains_on_good_photos_and_writes_maps_and_card(
    data: Path, tmp_path: Path, trained: list[dict[str, Any]]
) -> None:
    out = tmp_path / "out"
    words = [
        "patchcore-lite",
        str(data),
        str(out),
        "--minutes",
        "0.5",
        "--seed",
        "7",
        "--device",
        "cpu",
    ]
    assert main(words) == 0
    (asked,) = trained
    dataset = read_dataset(data)
    assert asked["peer"] is PEERS["patchcore-lite"]
    assert asked["records"] == dataset.train
    assert (asked["seconds"], asked["seed"], asked["size"]) == (30, 7, 256)
    card = json.loads((out / "peer.json").read_text(encoding="utf-8"))
    assert (card["model"], card["seed"], card["train_minutes"]) == ("patchcore-lite", 7, 0.5)
    assert (card["train_photos"], card["test_photos"]) == (2, 4)
    assert card["peak_memory_mib"]["process"] > 0
    assert scored_maps(dataset.test, out, dataset.root).figures()["image_auroc"] == 1


def test_one_category_of_a_benchmark_is_chosen_by_its_name(
    tmp_path: Path, trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(2):
        write_png(tmp_path / "data" / "Class1" / "Train" / f"{index}.png", photo(index))
        write_png(tmp_path / "data" / "Class1" / "Test" / f"{index}.png", photo(index))
        for split in ("Train", "Test"):
            (tmp_path / "data" / "Class1" / split / "Label").mkdir(exist_ok=True)
    words = ["patchcore-lite", str(tmp_path / "data"), str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--category", "Class2"]) == 2
    assert "choose from: Class1" in capsys.readouterr().err
    assert main([*words, "--category", "Class1"]) == 0
    assert [record.split for record in trained[0]["records"]] == ["train", "train"]


def test_an_old_folder_or_missing_weights_end_with_code_2_before_any_training(
    data: Path, tmp_path: Path, trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["patchcore-lite", str(data), str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["padim", str(data), str(tmp_path / "out")]) == 2
    assert "--weights FILE" in capsys.readouterr().err
    assert not trained


def test_without_good_training_photos_there_is_nothing_to_learn(
    data: Path, tmp_path: Path, trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (data / "train" / "good").iterdir():
        file.unlink()
    (data / "manifest.jsonl").unlink(missing_ok=True)
    assert main(["patchcore-lite", str(data), str(tmp_path / "out")]) == 2
    assert "no good training photos" in capsys.readouterr().err
    assert not trained


@pytest.mark.parametrize("minutes", ["0", "-1", "inf", "nan", "soon"])
def test_a_budget_is_a_positive_number_of_minutes(
    minutes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["padim", "data", "out", f"--minutes={minutes}"])
    assert f"positive number of minutes, got '{minutes}'" in capsys.readouterr().err


def test_without_anomalib_the_command_line_says_how_to_get_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    words = ["patchcore-lite", str(data), str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == 2
    assert "make peers" in capsys.readouterr().err
