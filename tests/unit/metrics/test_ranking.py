from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.errors import BlemishError
from blemish.metrics import (
    auroc,
    average_precision,
    f1_max,
    precision_recall_curve,
    roc_curve,
)
from blemish.metrics import ranking as module


@st.composite
def tied(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores from a handful of values, so that ties within and across classes abound."""
    good = draw(st.lists(st.integers(-3, 3), min_size=1, max_size=25))
    bad = draw(st.lists(st.integers(-3, 3), min_size=1, max_size=25))
    scores = np.array(good + bad) / 4
    return scores, np.repeat([0, 1], [len(good), len(bad)])


def drawn(dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.random(2000) < 0.2
    return (rng.standard_normal(2000) + labels).astype(dtype).round(2), labels


def best_f1(scores: np.ndarray, labels: np.ndarray, thresholds: np.ndarray) -> float:
    return max(reference.f1_score(labels, scores >= t, zero_division=0.0) for t in thresholds)


@settings(deadline=None)
@given(tied())
def test_auroc_equals_scikit_learn_with_ties(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = data
    assert auroc(scores, labels) == pytest.approx(reference.roc_auc_score(labels, scores))


@settings(deadline=None)
@given(tied())
def test_average_precision_equals_scikit_learn_with_ties(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, labels = data
    expected = reference.average_precision_score(labels, scores)
    assert average_precision(scores, labels) == pytest.approx(expected)


@settings(deadline=None)
@given(tied())
def test_f1_max_is_the_best_over_every_threshold(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = data
    best = f1_max(scores, labels)
    assert best.value == pytest.approx(best_f1(scores, labels, np.unique(scores)))
    assert reference.f1_score(labels, scores >= best.threshold) == pytest.approx(best.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_three_equal_scikit_learn_on_two_thousand_items(dtype: type) -> None:
    scores, labels = drawn(dtype)
    precision, recall, _ = reference.precision_recall_curve(labels, scores)
    assert auroc(scores, labels) == pytest.approx(reference.roc_auc_score(labels, scores))
    assert average_precision(scores, labels) == pytest.approx(
        reference.average_precision_score(labels, scores)
    )
    harmonic = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert f1_max(scores, labels).value == pytest.approx(harmonic.max())


def test_f1_max_is_at_least_the_best_of_21_thresholds() -> None:
    rng = np.random.default_rng(5)
    labels = rng.random(500) < 0.3
    scores = np.clip(0.02 * rng.random(500) + 0.01 * labels, 0, 1)
    coarse = best_f1(scores, labels, np.linspace(0, 1, 21))
    assert f1_max(scores, labels).value > coarse


def test_of_equally_good_thresholds_f1_max_names_the_one_with_the_fewest_alarms() -> None:
    # At 3: TP 1, FP 0, F1 = 2/3. At 1: TP 2, FP 2, F1 = 4/6.
    assert f1_max([3.0, 2.0, 1.5, 1.0], [1, 0, 0, 1]) == (pytest.approx(2 / 3), 3.0)


def test_auroc_is_the_chance_that_a_defect_outranks_a_normal_image() -> None:
    scores, labels = drawn()
    good, bad = scores[~labels], scores[labels]
    wins = (bad[:, None] > good).mean() + (bad[:, None] == good).mean() / 2
    assert auroc(scores, labels) == pytest.approx(wins)


def test_average_precision_of_a_constant_score_is_the_share_of_defects() -> None:
    assert average_precision(np.full(40, 0.3), np.arange(40) < 7) == pytest.approx(7 / 40)


def test_negating_scores_turns_auroc_into_its_complement() -> None:
    scores, labels = drawn()
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels))


def test_a_perfect_ranking_has_one_everywhere() -> None:
    scores, labels = np.array([0.1, 0.2, 0.7, 0.9]), [0, 0, 1, 1]
    assert auroc(scores, labels) == average_precision(scores, labels) == 1
    assert f1_max(scores, labels) == (1.0, 0.7)


def test_a_small_block_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = drawn()
    whole = auroc(scores, labels), average_precision(scores, labels), f1_max(scores, labels)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert auroc(scores, labels) == whole[0]
    assert average_precision(scores, labels) == pytest.approx(whole[1])
    assert f1_max(scores, labels) == whole[2]


def test_a_tie_between_blocks_still_gives_the_highest_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BLOCK", 1)
    assert f1_max([3.0, 2.0, 1.5, 1.0], [1, 0, 0, 1]).threshold == 3


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_with_one_class_only_every_metric_is_undefined(labels: list[int]) -> None:
    scores = [0.1, 0.2, 0.3]
    assert math.isnan(auroc(scores, labels))
    assert math.isnan(average_precision(scores, labels))
    assert all(math.isnan(number) for number in f1_max(scores, labels))
    assert roc_curve(scores, labels).x.size == 0
    assert precision_recall_curve(scores, labels).x.size == 0


@settings(deadline=None)
@given(tied())
def test_the_area_under_the_roc_curve_is_the_auroc(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = data
    curve = roc_curve(scores, labels)
    assert reference.auc(curve.x, curve.y) == pytest.approx(auroc(scores, labels))
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)


@settings(deadline=None)
@given(tied())
def test_the_steps_of_the_precision_recall_curve_enclose_the_average_precision(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    scores, labels = data
    curve = precision_recall_curve(scores, labels)
    steps = np.diff(curve.x) @ curve.y[1:]
    assert steps == pytest.approx(average_precision(scores, labels))


def test_a_thinned_curve_keeps_both_ends_and_invents_no_point() -> None:
    scores, labels = drawn()
    for function in (roc_curve, precision_recall_curve):
        full, thin = function(scores, labels, 10_000), function(scores, labels, 20)
        points = set(zip(full.x, full.y, strict=True))
        assert len(thin.x) <= 20 < len(full.x)
        assert set(zip(thin.x, thin.y, strict=True)) <= points
        assert thin.x[0] == full.x[0]
        assert thin.x[-1] == full.x[-1]


@pytest.mark.parametrize(
    ("scores", "labels", "says"),
    [
        ([0.1, 0.2], [0, 1, 1], "one shape"),
        ([[0.1, 0.2]], [[0, 1]], "one shape"),
        ([0.1, 0.2], [0, 255], "0 .good. and 1 .defect."),
        ([0.1, float("nan")], [0, 1], "finite"),
    ],
)
def test_malformed_scores_or_labels_are_refused(scores: list, labels: list, says: str) -> None:
    with pytest.raises(BlemishError, match=says) as caught:
        auroc(scores, labels)
    assert caught.value.hint
