from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from blemish.data import Dataset, read_dataset, write_png
from blemish.experiments import downstream
from blemish.experiments.classification import ClassifierSettings
from blemish.experiments.downstream import (
    SCORES,
    ClassificationCell,
    LocalisationCell,
    read_scores,
    write_scores,
)
from blemish.experiments.galleries import GALLERY, read_gallery
from blemish.experiments.grid import run_grid
from blemish.experiments.localisation import LocaliserSettings, Maps
from blemish.experiments.protocol import FewShot
from blemish.metrics import ImageCounts, PixelScores
from handmade import made_maps

TINY = LocaliserSettings(width=8, size=64, batch=4, iterations=4, precision="fp32")


def localisation(split: FewShot, **changes: Any) -> LocalisationCell:
    cell = LocalisationCell(
        name="tile/localisation/real/seed0",
        sources={"real": split.few},
        test=split.test,
        turns=("mirror",),
        seed=0,
        goods=split.goods,
        settings=TINY,
    )
    return replace(cell, **changes)


def classification(split: FewShot, **changes: Any) -> ClassificationCell:
    cell = ClassificationCell(
        name="tile/classification/real/seed0",
        sources={"real": split.few},
        test=split.test,
        turns=(),
        seed=0,
        settings=ClassifierSettings(),
    )
    return replace(cell, **changes)


@pytest.fixture(scope="module")
def split(plain: Dataset) -> FewShot:
    return FewShot.of(plain)


@pytest.mark.parametrize("make", [localisation, classification])
def test_an_identity_tells_seed_settings_turns_and_photos_apart_and_nothing_else(split, make):
    first = make(split)
    size = {"size": 32}
    others = [
        make(split, seed=1),
        make(split, settings=replace(first.settings, **size)),
        make(split, turns=("mirror", "flip")),
        make(split, sources={"real": split.few[1:]}),
        make(split, sources={"real": split.few, "more": split.few}),
        make(split, sources={"other": split.few}),
        make(split, test=split.test[1:]),
    ]
    if make is localisation:
        others += [make(split, goods=split.goods[1:]), make(split, paper_protocol=True)]
    found = [json.dumps(cell.identity(), sort_keys=True) for cell in (first, *others)]
    assert len(set(found)) == len(found)
    assert make(split, name="elsewhere").identity() == first.identity()
    assert pickle.loads(pickle.dumps(first)).identity() == first.identity()  # noqa: S301 - our own


@pytest.mark.parametrize("make", [localisation, classification])
def test_an_identity_follows_the_pixels_and_not_the_place(plain, tmp_path, make):
    root = tmp_path / "moved"
    shutil.copytree(plain.root, root)
    before = make(FewShot.of(plain)).identity()
    assert make(FewShot.of(read_dataset(root))).identity() == before
    write_png(root / "ground_truth" / "bar" / "08_mask.png", np.ones((64, 64), np.bool_))
    assert make(FewShot.of(read_dataset(root))).identity() != before


@pytest.mark.parametrize("name", ["test", "goods"])
@pytest.mark.parametrize("make", [localisation, classification])
def test_what_a_source_is_called_hides_nothing_that_is_judged_or_learned_from(split, make, name):
    sources = {"real": split.few, name: split.few}
    first = make(split, sources=sources).identity()
    assert make(split, sources=sources, test=split.test[1:]).identity() != first
    if make is localisation:
        assert make(split, sources=sources, goods=split.goods[1:]).identity() != first
    assert make(split, sources=sources | {name: split.few[1:]}).identity() != first


def test_an_identity_follows_the_weights_that_a_classifier_begins_with_and_not_their_place(
    split, tmp_path
):
    def identity(name: str, content: bytes) -> Any:
        path = tmp_path / name
        path.write_bytes(content)
        return classification(split, settings=ClassifierSettings(weights=str(path))).identity()

    first = identity("r.pth", b"one")
    assert identity("elsewhere.pth", b"one") == first
    assert identity("r.pth", b"two") != first
    assert first != classification(split).identity()


def test_scores_are_read_as_they_were_written(tmp_path):
    maps = made_maps(0.05, seed=3)
    maps.valid[0][:4] = False
    write_scores(tmp_path / SCORES, maps)
    found = read_scores(tmp_path / SCORES)
    assert found.labels == maps.labels
    np.testing.assert_array_equal(found.scores, maps.scores)
    expected = ImageCounts.of(maps.maps, maps.masks, maps.valid)
    np.testing.assert_array_equal(found.counts.normal, expected.normal)
    np.testing.assert_array_equal(found.counts.defect, expected.defect)
    pixels = [int((~mask & valid).sum()) for mask, valid in zip(maps.masks, maps.valid, strict=True)]
    assert found.counts.normal.sum(axis=1).tolist() == pixels


def exact_ap(maps: Maps) -> float:
    pixels = PixelScores()
    for values, mask, valid in zip(maps.maps, maps.masks, maps.valid, strict=True):
        pixels.add(values, mask, valid)
    return pixels.average_precision()


def test_a_localisation_cell_leaves_figures_scores_and_pictures_of_one_training(
    split, tmp_path, monkeypatch
):
    kept: list[Maps] = []
    asked: list[dict[str, Any]] = []
    train = downstream.train_localiser

    def watch(settings, goods, sources, held_out, test, folder, **others):
        asked.append({"goods": goods, "sources": sources, "held_out": held_out, "test": test, **others})
        maps, notes = train(settings, goods, sources, held_out, test, folder, **others)
        kept.append(maps)
        return maps, notes

    monkeypatch.setattr(downstream, "train_localiser", watch)
    cell = localisation(split, paper_protocol=True)
    (result,) = run_grid([cell], tmp_path, ["cpu"])
    (maps,), (told,) = kept, asked
    assert result["figures"] == maps.figures()
    assert result["per_type"] == {label: maps.figures([label]) for label in ("bar", "spot")}
    assert set(result["test_selected"]) == set(result["figures"])
    assert run_grid([cell], tmp_path, ["cpu"]) == [result]
    assert len(kept) == 1

    folder = tmp_path / cell.name
    scores = read_scores(folder / SCORES)
    assert scores.labels == [record.label for record in split.test]
    assert scores.counts.average_precision() == pytest.approx(exact_ap(maps), abs=5e-3)
    rows = read_gallery(folder / GALLERY)
    assert [name for name, _ in rows] == ["bar", "bar", "good", "good", "spot", "spot"]

    assert (told["test"], told["turns"], told["seed"]) == (split.test, ("mirror",), 0)
    assert told["watch_test"] is True
    (few,) = told["sources"]
    assert set(few) == set(split.few)  # three of a type can spare none
    held_goods = [record for record in told["held_out"] if record.is_good]
    assert held_goods
    assert set(held_goods) | set(told["goods"]) == set(split.goods)
    assert not set(held_goods) & set(told["goods"])
    assert not set(told["held_out"]) & set(split.test)


def test_a_cell_of_honest_choices_does_not_watch_the_test_photos(split, tmp_path, monkeypatch):
    def refuse(*_: object, watch_test: bool, **__: object):
        assert not watch_test
        return made_maps(0.5, 0), {}

    monkeypatch.setattr(downstream, "train_localiser", refuse)
    monkeypatch.setattr(downstream, "write_gallery", lambda *_: None)
    assert "test_selected" not in localisation(split)(tmp_path, "cpu")


@pytest.fixture
def answers(split, monkeypatch) -> Callable[[list[str]], None]:
    """Put scripted answers in the place of a trained classifier."""

    def script(found: list[str]) -> None:
        def train(_, sources, held_out, test, *__, **___):
            assert [record for record in split.test if not record.is_good] == list(test)
            assert {r.label for source in sources for r in source} == {r.label for r in held_out}
            return found

        monkeypatch.setattr(downstream, "train_classifier", train)

    return script


def test_accuracy_shares_and_confusion_are_counted(split, tmp_path, answers):
    rest = [record.label for record in split.rest]
    assert rest == ["bar"] * 6 + ["spot"] * 6
    answers(["bar"] * 4 + ["spot"] * 2 + ["spot"] * 6)
    (result,) = run_grid([classification(split)], tmp_path)
    assert result == {
        "accuracy": pytest.approx(10 / 12),
        "photos": 12,
        "per_type": {"bar": pytest.approx(4 / 6), "spot": 1.0},
        "confusion": {"bar": {"bar": 4, "spot": 2}, "spot": {"bar": 0, "spot": 6}},
    }


def test_an_answer_that_no_photo_deserves_has_a_column_of_its_own(split, tmp_path, answers):
    answers(["crack"] * 12)
    (result,) = run_grid([classification(split)], tmp_path)
    assert result["accuracy"] == 0
    assert result["confusion"] == {"bar": {"crack": 6}, "spot": {"crack": 6}}
