from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.verdicts import Calibration

SCORES = st.lists(st.integers(0, 12).map(lambda n: n / 8), min_size=1, max_size=60)
RATES = st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.25, 0.3, 0.5, 0.9, 0.99])
few = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (39, 0.1), (50, 0.1), (7, 0.25)])
def test_new_good_photos_are_rejected_as_often_as_promised(count, rate):
    rng, trials = np.random.default_rng(0), 4000
    rejected = 0
    for _ in range(trials):
        scores = rng.gamma(2.0, size=count + 1)
        rejected += scores[-1] >= Calibration.of(scores[:-1], rate).threshold
    exact = math.floor(rate * (count + 1) + 1e-9) / (count + 1)
    assert exact <= rate
    assert rejected / trials == pytest.approx(exact, abs=4 * math.sqrt(exact / trials))


def test_one_in_twenty_of_nineteen_photos_lies_just_above_the_largest():
    calibration = Calibration.of(range(1, 20), 0.05)
    assert calibration.threshold == math.nextafter(19, math.inf)
    assert calibration.p_value(calibration.threshold) == 1 / 20
    assert calibration.warning() is None


def test_one_in_ten_of_nineteen_photos_lies_just_above_the_second_largest():
    calibration = Calibration.of(range(1, 20), 0.1)
    assert calibration.threshold == math.nextafter(18, math.inf)


def test_p_values_of_hand_counted_scores():
    calibration = Calibration.of([0.1, 0.2, 0.2, 0.4], 0.2)
    for score, at_least in [(0.0, 4), (0.1, 4), (0.2, 3), (0.3, 1), (0.4, 1), (0.5, 0)]:
        assert calibration.p_value(score) == (1 + at_least) / 5


@few
@given(SCORES, RATES)
def test_the_p_value_at_the_threshold_is_at_most_the_promised_rate(scores, rate):
    calibration = Calibration.of(scores, rate)
    assert calibration.p_value(calibration.threshold) <= calibration.guaranteed_rate + 1e-12
    assert calibration.guaranteed_rate >= rate


@few
@given(SCORES, RATES, st.integers(0, 12))
def test_a_photo_is_rejected_exactly_when_its_p_value_is_small_enough(scores, rate, eighths):
    calibration, score = Calibration.of(scores, rate), eighths / 8
    rejected = score >= calibration.threshold
    assert rejected == (calibration.p_value(score) <= calibration.guaranteed_rate + 1e-12)


@few
@given(SCORES, RATES, st.randoms(use_true_random=False))
def test_the_order_of_the_photos_does_not_matter(scores, rate, random):
    shuffled = random.sample(scores, len(scores))
    assert Calibration.of(shuffled, rate) == Calibration.of(scores, rate)


def test_too_few_photos_reject_only_above_all_of_them_and_say_so():
    calibration = Calibration.of([0.3, 0.1, 0.2], 0.05)
    assert calibration.threshold == math.nextafter(0.3, math.inf)
    assert calibration.guaranteed_rate == 0.25
    assert "only 25.0%: it takes at least 19" in calibration.warning()


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.1, 9), (0.01, 99), (0.3, 3)])
def test_the_warning_ends_where_the_rate_can_be_kept(rate, needed):
    assert Calibration.of([0.5] * (needed - 1), rate).warning() is not None
    assert Calibration.of([0.5] * needed, rate).warning() is None


def test_a_rate_that_no_number_of_photos_can_promise_is_told_as_well():
    assert "at least inf" in Calibration.of([0.5], 1e-310).warning()


@pytest.mark.parametrize(("parts", "photos", "rate"), [(4, 5, 0.2), (10, 2, 0.1), (19, 3, 0.05)])
def test_photos_of_one_part_are_no_witnesses_of_their_own(parts, photos, rate):
    rng, trials, rejected = np.random.default_rng(0), 4000, 0
    families = np.repeat(np.arange(parts), photos)
    for _ in range(trials):
        part, own = rng.normal(size=(parts + 1, 1)), rng.normal(size=(parts + 1, photos))
        scores = part + 0.3 * own
        found = Calibration.of(scores[:-1].ravel(), rate, families)
        rejected += scores[-1, 0] >= found.threshold
    assert rejected / trials <= rate + 4 * math.sqrt(rate / trials)


def test_p_values_by_parts_counted_by_hand():
    found = Calibration.of([0.1, 0.4, 0.2, 0.3], 0.4, [7, 7, 8, 9])
    assert found.parts == 3
    for score, at_least in [(0.1, 3), (0.15, 2.5), (0.25, 1.5), (0.35, 0.5), (0.5, 0)]:
        assert found.p_value(score) == (1 + at_least) / 4
    assert found.threshold == math.nextafter(0.3, math.inf)


@few
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=40), RATES)
def test_by_parts_too_a_photo_is_rejected_exactly_when_its_p_value_is_small_enough(photos, rate):
    scores, families = zip(*photos, strict=True)
    found = Calibration.of(scores, rate, families)
    for score in range(14):
        small = found.p_value(score) <= found.guaranteed_rate + 1e-9
        assert (score >= found.threshold) == small


def test_photos_of_few_parts_promise_as_little_as_those_parts():
    found = Calibration.of([0.1] * 20, 0.05, [0, 1, 2, 3] * 5)
    assert found.guaranteed_rate == 0.2
    assert "20 held-out good photos of 4 parts cannot promise" in found.warning()


def test_what_the_summary_tells_is_read_back():
    found = Calibration.of([0.3, 0.1, 0.2], 0.25, [4, 4, 5])
    assert Calibration.read(found.summary()) == found
    old = {"scores": [0.1, 0.2], "false_alarm_rate": 0.5}
    assert Calibration.read(old) == Calibration.of([0.1, 0.2], 0.5)


def test_without_photos_nothing_is_rejected():
    calibration = Calibration.of([], 0.05)
    assert calibration.threshold == math.inf
    assert calibration.p_value(1.0) == 1
