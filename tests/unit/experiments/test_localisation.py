from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from torch import nn

from blemish.data import Dataset
from blemish.errors import ImageError
from blemish.experiments import localisation
from blemish.experiments.localisation import (
    POOL,
    LocaliserSettings,
    LocaliserTask,
    Maps,
    judged,
    pooled_score,
    train_localiser,
)
from blemish.experiments.protocol import FewShot
from blemish.experiments.training_pairs import Squares, TrainingPairs
from blemish.metrics import PixelScores, f1_max
from blemish.records import Record
from blemish.training import Interrupted

TINY = LocaliserSettings(width=8, size=64, batch=4, iterations=10, lr=3e-3, precision="fp32")


@pytest.fixture(scope="module")
def split(plain: Dataset) -> FewShot:
    return FewShot.of(plain)


def trained(split: FewShot, folder: Path, settings: LocaliserSettings = TINY, **changes: object):
    chosen = {"held_out": (*split.goods[9:], *split.few), "test": split.test, "device": "cpu"} | changes
    return train_localiser(settings, split.goods[:9], [split.few], folder=folder, **chosen)


@pytest.fixture(scope="module")
def maps(split: FewShot, tmp_path_factory: pytest.TempPathFactory) -> Maps:
    """What ten iterations without a break and nothing else say of the test photos."""
    found, notes = trained(split, tmp_path_factory.mktemp("maps"))
    assert notes == {}
    return found


def same(one: Maps, other: Maps) -> bool:
    equal = all(np.array_equal(a, b) for a, b in zip(one.maps, other.maps, strict=True))
    return equal and np.array_equal(one.scores, other.scores)


def test_a_photos_score_is_the_largest_mean_over_a_window_with_nothing_outside():
    rng = np.random.default_rng(0)
    maps, valid = rng.random((3, 25, 25)), np.ones((3, 25, 25))
    valid[1, :8] = 0
    valid[2] = 0
    expected = []
    for values in np.pad(maps * valid, ((0, 0), (POOL // 2,) * 2, (POOL // 2,) * 2)):
        windows = np.lib.stride_tricks.sliding_window_view(values, (POOL, POOL))
        expected.append(max(window.sum() / POOL**2 for row in windows for window in row))
    found = pooled_score(*(torch.from_numpy(x).float()[:, None] for x in (maps, valid)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert found[2] == 0


def test_it_learns_to_find_what_anybody_sees(split, tmp_path):
    found, _ = trained(split, tmp_path, replace(TINY, batch=8, iterations=30))
    figures = found.figures()
    assert list(found.records) == list(split.test)
    assert all(values.shape == (64, 64) for values in found.maps)
    assert figures["pixel_ap"] > 0.8  # the share of defect pixels, which chance would give, is 0.02
    assert figures["image_auroc"] > 0.95
    for label in ("spot", "bar"):
        assert found.figures([label])["pixel_ap"] > 0.8


def test_the_same_seed_gives_the_same_maps_and_another_one_others(split, maps, tmp_path):
    assert same(trained(split, tmp_path / "again")[0], maps)
    assert not same(trained(split, tmp_path / "other", seed=1)[0], maps)


def test_a_run_that_was_stopped_ends_like_one_that_was_not(split, maps, tmp_path, monkeypatch):
    read = TrainingPairs.__getitem__

    def stop_at_six(pairs: TrainingPairs, iteration: int):
        if iteration == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return read(pairs, iteration)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingPairs, "__getitem__", stop_at_six)
        with pytest.raises(Interrupted, match="iteration 7"):
            trained(split, tmp_path)
    asked = []

    def note(pairs: TrainingPairs, iteration: int):
        asked.append(iteration)
        return read(pairs, iteration)

    monkeypatch.setattr(TrainingPairs, "__getitem__", note)
    assert same(trained(split, tmp_path)[0], maps)
    assert asked == [7, 8, 9]
    assert same(trained(split, tmp_path)[0], maps)
    assert asked == [7, 8, 9]


def progress(folder: Path) -> dict:
    path = folder / "progress.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def test_a_test_photo_is_opened_after_training_and_before_only_where_that_is_asked_for(split, tmp_path):
    missing = [replace(record, image=Path("nowhere.png")) for record in split.test]
    with pytest.raises(ImageError, match="nowhere"):
        trained(split, tmp_path / "blind", test=missing)
    assert progress(tmp_path / "blind")["stopped"] == "plan finished"
    with pytest.raises(ImageError, match="nowhere"):
        trained(split, tmp_path / "watching", test=missing, watch_test=True)
    assert not progress(tmp_path / "watching")


def test_watching_the_test_photos_changes_no_map_and_notes_the_best_weights_on_them(
    split, maps, tmp_path, monkeypatch
):
    seen = []
    judged = localisation.judged

    def watch(objective, squares, records):
        found = judged(objective, squares, records)
        if tuple(records) == split.test:
            seen.append(found.figures())
        return found

    monkeypatch.setattr(localisation, "judged", watch)
    found, notes = trained(split, tmp_path, watch_test=True)
    assert same(found, maps)
    *validations, final = seen
    assert len(validations) == 6
    assert final in validations
    names = ("image_auroc", "pixel_auroc", "pixel_ap", "pro")
    assert notes == max(validations, key=lambda figures: sum(figures[name] for name in names))


@pytest.mark.parametrize("labels", [None, ["spot", "bar"], ["bar"], ["spot"]])
def test_figures_are_those_of_scikit_learn_for_all_types_and_for_some(maps, labels):
    wanted = {"good", *(labels or ("spot", "bar"))}
    kept = [n for n, record in enumerate(maps.records) if record.label in wanted]
    truth = [not maps.records[n].is_good for n in kept]
    values = np.concatenate([maps.maps[n][maps.valid[n]] for n in kept])
    marked = np.concatenate([maps.masks[n][maps.valid[n]] for n in kept])
    pixels = PixelScores()
    for n in kept:
        pixels.add(maps.maps[n], maps.masks[n], maps.valid[n])
    expected = {
        "image_auroc": reference.roc_auc_score(truth, maps.scores[kept]),
        "image_ap": reference.average_precision_score(truth, maps.scores[kept]),
        "image_f1_max": f1_max(maps.scores[kept], truth).value,
        "pixel_auroc": reference.roc_auc_score(marked, values),
        "pixel_ap": reference.average_precision_score(marked, values),
        "pixel_f1_max": pixels.f1_max().value,
        "pro": pixels.pro(),
        "pro_rescaled": pixels.pro(mode="rescaled"),
    }
    assert maps.figures(labels) == pytest.approx(expected, abs=1e-6)


def test_figures_leave_padding_out_and_are_none_where_the_photos_do_not_define_them():
    mask = np.zeros((4, 4), np.bool_)
    mask[0, 0] = True
    values = mask.astype(np.float32)
    values[3] = 2.0  # padding that would outrank the defect
    inside = np.ones((4, 4), np.bool_)
    inside[3] = False
    good, bad = Record(Path("0.png")), Record(Path("1.png"), "dent")
    empty, scores = mask & ~mask, np.array([0.0, 1.0])
    both = Maps([good, bad], [0 * values, values], [empty, mask], [inside] * 2, scores)
    assert both.labels == ["good", "dent"]
    found = both.figures()
    assert found.pop("pro_rescaled") is None  # nothing good is marked: no rates to scale by
    assert set(found.values()) == {1.0}
    alone = Maps([good], [values], [empty], [inside], np.array([0.5]))
    assert set(alone.figures().values()) == {None}
    assert set(both.figures([]).values()) == {None}


def task(split: FewShot, settings: LocaliserSettings, seed: int = 0) -> LocaliserTask:
    squares = Squares(settings.size)
    pairs = TrainingPairs(split.goods, [split.few], ["bar", "spot"], squares, batch=4, seed=seed)
    return LocaliserTask(settings, pairs, [], device=torch.device("cpu"))


def test_the_papers_network_starts_from_weights_of_deviation_0_02(split):
    unet = replace(TINY, network="unet", width=16)
    state = torch.random.get_rng_state()
    network = task(split, unet).objective.network
    assert torch.equal(torch.random.get_rng_state(), state)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    weights = torch.cat([layer.weight.flatten() for layer in layers])
    assert weights.mean().item() == pytest.approx(0, abs=1e-4)
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert layers[0].weight.std().item() == pytest.approx(0.02, rel=0.2)
    again, other = (task(split, unet, seed).objective.network.state_dict() for seed in (0, 1))
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
    assert not torch.equal(layers[0].weight, other["down.0.0.0.weight"])


def test_the_papers_network_trains_and_judges_each_photo_by_itself(split, tmp_path):
    unet = replace(TINY, network="unet", width=4, iterations=2)
    found, _ = trained(split, tmp_path, unet)
    assert all(0 <= value <= 1 for value in found.figures().values())
    made = task(split, unet)
    whole = judged(made.objective, made.pairs.squares, split.test)
    parts = [judged(made.objective, made.pairs.squares, [record]) for record in split.test]
    for values, part in zip(whole.maps, parts, strict=True):
        np.testing.assert_allclose(values, part.maps[0], atol=1e-5)
    assert made.objective.training


def test_the_small_networks_features_stay_as_they_are_and_fit_the_good_photos(split):
    made = task(split, TINY)
    network = made.objective.network
    (group,) = made.parameter_groups()
    learning = {id(parameter) for parameter in group["params"]}
    assert not learning & {id(parameter) for parameter in network.encoder.parameters()}
    others = [p for name, p in network.named_parameters() if not name.startswith("encoder")]
    assert learning == {id(parameter) for parameter in others}
    squares = np.stack([made.pairs.squares.view(record).image for record in split.goods])
    photos = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
    for features in network.encoder(photos):
        variance, mean = torch.var_mean(features, (0, 2, 3))
        assert mean.abs().max() < 1e-3
        assert 0.8 < variance.median() < 1.05
