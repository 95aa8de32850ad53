from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta, betabinom, binomtest

from blemish.errors import ConfigError
from blemish.metrics import (
    Interval,
    alarm_chance,
    alarm_rate,
    auroc,
    bootstrap,
    f1_max,
    unanimous,
    wilson,
)


def drawn(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 2 == 0
    return rng.standard_normal(count) + labels, labels


def test_every_repeat_has_as_many_of_each_class_as_the_data() -> None:
    seen = []

    def share(scores: np.ndarray, labels: np.ndarray) -> float:
        assert (scores[labels] > 0).all()
        assert (scores[~labels] < 0).all()
        seen.append((len(labels), labels.sum()))
        return 0.5

    bootstrap(share, [-1.0, -2.0, -3.0, 5.0], [0, 0, 0, 1], np.random.default_rng(0), repeats=20)
    assert seen == [(4, 1)] * 20


def test_the_interval_of_a_mean_has_the_width_that_theory_gives() -> None:
    def mean_of_defects(scores: np.ndarray, labels: np.ndarray) -> float:
        return float(scores[labels].mean())

    scores, labels = drawn(np.random.default_rng(1), 800)
    low, high = bootstrap(mean_of_defects, scores, labels, np.random.default_rng(2), repeats=2000)
    error = scores[labels].std() / math.sqrt(labels.sum())
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert (low + high) / 2 == pytest.approx(scores[labels].mean(), abs=0.2 * error)


def test_the_interval_of_auroc_agrees_with_hanley_and_mcneil() -> None:
    scores, labels = drawn(np.random.default_rng(3), 400)
    area = auroc(scores, labels)
    low, high = bootstrap(auroc, scores, labels, np.random.default_rng(4))
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 199 * (first - area**2) + 199 * (second - area**2)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(variance) / 200, rel=0.15)
    assert low < area < high


def test_the_same_stream_gives_the_same_interval() -> None:
    scores, labels = drawn(np.random.default_rng(5), 60)
    first = bootstrap(auroc, scores, labels, np.random.default_rng(6), repeats=50)
    again = bootstrap(auroc, scores, labels, np.random.default_rng(6), repeats=50)
    other = bootstrap(auroc, scores, labels, np.random.default_rng(7), repeats=50)
    assert first == again != other


def test_photos_that_leave_no_redrawing_a_doubt_give_no_interval_of_one_point() -> None:
    def best(scores: np.ndarray, labels: np.ndarray) -> float:
        return f1_max(scores, labels).value

    scores, labels = [0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]
    for metric in (best, auroc):
        found = bootstrap(metric, scores, labels, np.random.default_rng(0), repeats=30)
        assert all(map(math.isnan, found))


@pytest.mark.parametrize("pairs", [1, 3, 40])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_interval_of_a_perfect_order_is_that_of_as_many_hits_as_trials(
    pairs: int, level: float
) -> None:
    expected = binomtest(pairs, pairs).proportion_ci(level, method="exact")
    assert unanimous(1, pairs, level=level) == pytest.approx((expected.low, 1))
    assert unanimous(0, pairs, level=level) == pytest.approx((0, 1 - expected.low))


def test_two_pairs_in_order_leave_half_of_all_pairs_in_doubt_at_one_in_two() -> None:
    assert unanimous(1, 2, level=0.5) == Interval(0.5, 1)  # 0.5 * 0.5 = a quarter, the tail


def test_with_one_class_only_the_interval_is_undefined() -> None:
    assert all(map(math.isnan, bootstrap(auroc, [1.0, 2.0], [1, 1], np.random.default_rng(0))))


@pytest.mark.parametrize("arguments", [{"repeats": 0}, {"level": 1.0}, {"level": 0.0}])
def test_an_impossible_interval_is_refused(arguments: dict) -> None:
    with pytest.raises(ConfigError, match="repeat"):
        bootstrap(auroc, [1.0, 2.0], [0, 1], np.random.default_rng(0), **arguments)


@pytest.mark.parametrize(("hits", "trials"), [(0, 12), (7, 190), (301, 388), (5, 5)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_of_a_share_equals_scipy(hits: int, trials: int, level: float) -> None:
    expected = binomtest(hits, trials).proportion_ci(level, method="wilson")
    assert wilson(hits, trials, level=level) == pytest.approx((expected.low, expected.high))


def test_without_a_trial_the_interval_of_a_share_is_undefined() -> None:
    assert all(map(math.isnan, wilson(0, 0)))


@pytest.mark.parametrize(("hits", "trials"), [(3, 2), (-1, 2)])
def test_more_hits_than_trials_are_refused(hits: int, trials: int) -> None:
    with pytest.raises(ConfigError, match="hits"):
        wilson(hits, trials)


@pytest.mark.parametrize("above", [0, 1, 4])
def test_the_rate_of_false_alarms_lies_where_draws_of_photos_put_it(above: int) -> None:
    rng = np.random.default_rng(0)
    held_out = np.sort(rng.uniform(size=(40_000, 20)))
    rates = held_out[:, above]  # of uniform scores, small ones being alarms
    low, high = alarm_rate(above, 20, level=0.9)
    assert [np.mean(rates < low), np.mean(rates > high)] == pytest.approx([0.05, 0.05], abs=0.005)
    tested = rng.uniform(size=(40_000, 30)) <= rates[:, None]
    for rejected in (1, 4, 9):
        counted = np.mean(tested.sum(1) >= rejected)
        assert alarm_chance(rejected, 30, above, 20) == pytest.approx(counted, abs=0.01)


@pytest.mark.parametrize(("above", "held_out"), [(0, 1), (0, 20), (19, 400), (7, 9)])
def test_rate_and_chance_of_false_alarms_equal_scipy(above: int, held_out: int) -> None:
    expected = beta.interval(0.95, above + 1, held_out - above)
    assert alarm_rate(above, held_out) == pytest.approx(expected)
    for rejected in (0, 1, 12, 200):
        tail = betabinom.sf(rejected - 1, 200, above + 1, held_out - above)
        assert alarm_chance(rejected, 200, above, held_out) == pytest.approx(tail)


def test_a_threshold_below_all_held_out_photos_promises_nothing() -> None:
    assert alarm_rate(0, 0) == Interval(0, 1)
    assert alarm_rate(3, 3).high == 1
    assert alarm_rate(3, 3).low == pytest.approx(0.025 ** (1 / 3))  # all three at once, by chance
    assert alarm_chance(2, 2, 3, 3) == 1
    with pytest.raises(ConfigError, match="above"):
        alarm_rate(4, 3)
