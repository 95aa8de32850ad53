from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from blemish.errors import ConfigError
from blemish.metrics import halved, halves_interval, kernel_distance


def test_halves_of_a_mean_are_spread_as_the_mean_of_all_is():
    x = np.random.default_rng(0).gamma(2.0, size=10)
    every = [x[list(half)].mean() for half in combinations(range(10), 5)]
    assert np.var(every) == pytest.approx(x.var(ddof=1) / 10)
    drawn = halved(x.mean(), lambda half: x[half].mean(), [10], np.random.default_rng(1), 4000)
    assert drawn.std() == pytest.approx(np.std(every), rel=0.05)


def test_a_half_holds_no_picture_twice_and_each_set_has_halves_of_its_own():
    seen = []

    def note(one, other):
        seen.append((one, other))
        return 0.0

    halved(0.0, note, [8, 5], np.random.default_rng(0), 50)
    for one, other in seen:
        assert len(set(one.tolist())) == len(one) == 4
        assert len(set(other.tolist())) == len(other) == 2
    assert {int(i) for one, _ in seen for i in one} == set(range(8))
    assert {int(i) for _, other in seen for i in other} == set(range(5))


def test_halves_lie_about_the_value_of_all_and_undefined_ones_stay_out():
    x = np.arange(6.0)

    def biased(half):
        return float("nan") if 0 in half else x[half].mean() - 100

    found = halved(2.5, biased, [6], np.random.default_rng(0), 200)
    assert np.isnan(found).any()
    assert np.nanmean(found) == pytest.approx(2.5)
    low, high = halves_interval(found)
    assert low < 2.5 < high


def test_the_interval_holds_the_middle_share():
    assert halves_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    assert halves_interval(np.array([3.0, np.nan, 3.0])) == (3, 3)
    assert np.isnan(halves_interval(np.full(4, np.nan))).all()
    with pytest.raises(ConfigError, match="between 0 and 1"):
        halves_interval(np.ones(3), 1.0)


def test_the_interval_of_the_kernel_distance_holds_the_true_one_about_as_often_as_it_says():
    # One number each: (x y + 1)^3 has three moments, and the truth is known.
    #     MMD^2 = 3 (m1 - n1)^2 + 3 (m2 - n2)^2 + (m3 - n3)^2
    # Uniform on [-1, 1] has moments 0, 1/3, 0, on [0, 1] 1/2, 1/3, 1/4.
    truth = 3 / 4 + 1 / 16
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(150):
        x, y = rng.uniform(-1, 1, (60, 1)), rng.uniform(0, 1, (40, 1))
        value = kernel_distance(x, y)
        halves = halved(value, lambda a, b, x=x, y=y: kernel_distance(x[a], y[b]), [60, 40], rng)
        low, high = halves_interval(halves)
        inside.append(low <= truth <= high)
    assert 0.88 <= np.mean(inside) <= 0.99


def test_copies_raise_the_kernel_distance_which_is_why_halves_are_drawn():
    rng = np.random.default_rng(0)
    bootstrap, halves = [], []
    for _ in range(40):
        x, y = rng.normal(size=(2, 20, 4))
        some, others = rng.integers(20, size=(2, 20))
        bootstrap.append(kernel_distance(x[some], y[others]) - kernel_distance(x, y))
        half = rng.permutation(20)[:10]
        halves.append(kernel_distance(x[half], y[half]) - kernel_distance(x, y))
    assert np.mean(bootstrap) > 3 * np.std(bootstrap) / 40**0.5
    assert abs(np.mean(halves)) < 3 * np.std(halves) / 40**0.5
