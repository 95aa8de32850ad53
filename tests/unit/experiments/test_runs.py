from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as reference

from blemish.experiments.runs import Redrawn, Runs, grouped
from handmade import LABELS, made_maps


def result(pixel_ap: float | None, bar: float | None = 0.5) -> dict:
    return {"figures": {"pixel_ap": pixel_ap}, "per_type": {"bar": {"pixel_ap": bar}}}


def test_a_mean_is_over_the_seeds_and_undefined_where_one_of_them_is():
    runs = Runs([result(0.2), result(0.4), result(0.9)], [Path()] * 3)
    assert runs.mean("pixel_ap") == pytest.approx(0.5)
    assert runs.over_types("bar", "pixel_ap") == 0.5
    assert Runs([result(0.2), result(None, None)], []).mean("pixel_ap") is None
    assert Runs([result(0.2), result(None, None)], []).over_types("bar", "pixel_ap") is None
    assert Runs([result(0.2) | {"test_selected": {}}], []).mean("pixel_ap", "test_selected") is None


@dataclass
class Named:
    name: str


def test_runs_are_grouped_by_product_and_method_with_the_seeds_in_order(tmp_path):
    names = [
        "tile/localisation/real/seed0",
        "tile/localisation/real/seed1",
        "tile/localisation/generated+real/seed0",
        "my/bolt/noise/fine 200, anchor 400/seed0",
    ]
    found = grouped([Named(name) for name in names], [{"n": n} for n in range(4)], tmp_path)
    assert {product: list(methods) for product, methods in found.items()} == {
        "tile": ["real", "generated+real"],
        "my/bolt": ["fine 200, anchor 400"],
    }
    assert found["tile"]["real"].results == [{"n": 0}, {"n": 1}]
    assert found["tile"]["real"].folders == [tmp_path / name for name in names[:2]]


def test_without_redrawing_the_figures_are_those_of_all_photos_averaged_over_the_seeds(made_runs):
    runs = made_runs({"weak": [0.02, 0.05, 0.1]})
    drawn, once = Redrawn(runs, repeats=2), np.ones(len(LABELS))
    maps = [made_maps(skill, seed) for seed, skill in enumerate((0.02, 0.05, 0.1))]
    truth = [label != "good" for label in LABELS]
    expected = np.mean([reference.roc_auc_score(truth, one.scores) for one in maps])
    assert drawn.value("weak", "image_auroc", once) == pytest.approx(expected)
    # Bins of scores are a little coarser than scores.
    expected = runs["weak"].mean("pixel_ap")
    assert drawn.value("weak", "pixel_ap", once) == pytest.approx(expected, abs=0.003)


def test_redrawing_counts_a_photo_as_often_as_it_is_drawn(made_runs):
    drawn = Redrawn(made_runs({"weak": [0.05]}), repeats=3)
    maps = made_maps(0.05, 0)
    for weights in drawn.weights:
        chosen = np.repeat(np.arange(len(LABELS)), weights.astype(int))
        truth = np.array([LABELS[n] != "good" for n in chosen])
        expected = reference.roc_auc_score(truth, maps.scores[chosen])
        assert drawn.value("weak", "image_auroc", weights) == pytest.approx(expected)
        marked = np.concatenate([maps.masks[n].ravel() for n in chosen])
        values = np.concatenate([maps.maps[n].ravel() for n in chosen])
        expected = reference.average_precision_score(marked, values)
        assert drawn.value("weak", "pixel_ap", weights) == pytest.approx(expected, abs=0.003)


@pytest.mark.parametrize("key", ["pixel_ap", "image_auroc"])
def test_an_interval_contains_its_figure(made_runs, key):
    runs = made_runs({"weak": [0.05, 0.06]})
    drawn = Redrawn(runs, repeats=200)
    weak = drawn.figure("weak", key, runs["weak"].mean(key))
    assert weak.low < weak.value < weak.high


def test_a_perfect_figure_leaves_room_for_doubt_or_has_no_interval(made_runs):
    runs = made_runs({"perfect": [0.5, 0.6]})
    drawn = Redrawn(runs, repeats=20)
    order = drawn.figure("perfect", "image_auroc", runs["perfect"].mean("image_auroc"))
    least = 0.025 ** (1 / LABELS.count("good"))  # 8 good photos, 12 defective ones
    assert (order.value, order.low, order.high) == pytest.approx((1, least, 1))
    pixels = drawn.figure("perfect", "pixel_ap", runs["perfect"].mean("pixel_ap"))
    assert (pixels.value, pixels.interval) == (pytest.approx(1), None)
    assert drawn.figure("perfect", "image_auroc", None).interval is None


@pytest.mark.parametrize("key", ["pixel_ap", "image_auroc"])
def test_what_a_method_has_over_itself_is_nothing_and_over_another_what_that_lacks(made_runs, key):
    runs = made_runs({"weak": [0.03], "strong": [0.08]})
    drawn = Redrawn(runs, repeats=200)
    itself = drawn.gain("weak", "weak", key, 0.0)
    assert (itself.value, itself.low, itself.high) == (0, 0, 0)
    difference = runs["strong"].mean(key) - runs["weak"].mean(key)
    gain = drawn.gain("strong", "weak", key, difference)
    assert gain.low < gain.value < gain.high
    loss = drawn.gain("weak", "strong", key, -difference)
    assert (loss.low, loss.high) == pytest.approx((-gain.high, -gain.low))


def test_two_methods_are_compared_on_the_same_redrawn_photos(made_runs):
    """A copy moves with its original, however far that moves."""
    runs = made_runs({"one": [0.05]})
    both = {"one": runs["one"], "copy": runs["one"]}
    drawn = Redrawn(both, repeats=200)
    alone = drawn.figure("one", "pixel_ap", 0.5)
    gain = drawn.gain("one", "copy", "pixel_ap", 0.0)
    assert alone.high - alone.low > 0.01
    assert (gain.low, gain.high) == (0, 0)
    again = Redrawn(both, repeats=200)
    np.testing.assert_array_equal(again.weights, drawn.weights)


def test_no_interval_leaves_what_a_figure_can_be(made_runs):
    runs = made_runs({"weak": [0.05], "strong": [0.9]})
    drawn = Redrawn(runs, repeats=100)
    assert drawn.figure("weak", "pixel_ap", 1.0).high == 1
    assert drawn.figure("weak", "pixel_ap", 0.0).low == 0
    assert drawn.gain("strong", "weak", "pixel_ap", 1.0).high == 1
    assert drawn.gain("weak", "strong", "pixel_ap", -1.0).low == -1


def test_the_interval_of_a_figure_at_another_resolution_is_moved_with_it(made_runs):
    runs = made_runs({"weak": [0.05]})
    drawn = Redrawn(runs, repeats=100)
    here = drawn.figure("weak", "pixel_ap", 0.5)
    there = drawn.figure("weak", "pixel_ap", 0.7)
    assert there.low < 0.7 < there.high
    assert (there.low - here.low, there.high - here.high) == pytest.approx((0.2, 0.2))
    assert drawn.figure("weak", "pixel_ap", None).value is None
