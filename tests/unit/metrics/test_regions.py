from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from blemish.errors import ConfigError
from blemish.metrics import PixelScores, pro
from blemish.metrics import regions as module
from blemish.metrics.regions import label_regions

Images = list[tuple[np.ndarray, np.ndarray]]


def gathered(images: Images) -> PixelScores:
    pixels = PixelScores()
    for scores, mask in images:
        pixels.add(scores, mask)
    return pixels


def exhaustive(images: Images, thresholds: np.ndarray, *, strictly: bool = False) -> np.ndarray:
    """FPR and mean overlap at each threshold, (n, 2), one region at a time."""
    hit = np.greater if strictly else np.greater_equal
    points = []
    for threshold in thresholds:
        overlaps = []
        for scores, mask in images:
            labels, count = ndimage.label(mask, np.ones((3, 3)))
            overlaps += [hit(scores[labels == r + 1], threshold).mean() for r in range(count)]
        normal = np.concatenate([scores[~mask] for scores, mask in images])
        points.append((hit(normal, threshold).mean(), np.mean(overlaps)))
    return np.array(points)


def exhaustive_pro(images: Images, limit: float) -> float:
    every = np.unique(np.concatenate([scores.ravel() for scores, _ in images]))[::-1]
    x, y = np.vstack([[0, 0], exhaustive(images, every)]).T
    after = int(np.searchsorted(x, limit))
    share = (limit - x[after - 1]) / (x[after] - x[after - 1])
    end = y[after - 1] + share * (y[after] - y[after - 1])
    return reference.auc(np.append(x[:after], limit), np.append(y[:after], end)) / limit


@st.composite
def small_sets(draw: st.DrawFn) -> Images:
    seed = draw(st.integers(0, 2**32 - 1))
    levels = draw(st.sampled_from([2, 4, 1000]))
    rng = np.random.default_rng(seed)
    images = []
    for size in ((6, 7), (9, 5), (4, 4)):
        mask = rng.random(size) < 0.25
        scores = rng.integers(0, levels, size) + mask * levels // 3
        images.append(((scores / levels).astype(np.float32), mask))
    images[0][1][0, 0], images[0][1][5, 5] = True, False
    return images


def two_regions() -> Images:
    """One region of 4 pixels, one of 1; ten defect-free pixels scored 0.0 to 0.9."""
    mask = np.zeros((3, 5), dtype=bool)
    mask[0, :4] = True
    mask[2, 4] = True
    scores = np.empty((3, 5), dtype=np.float32)
    scores[mask] = [0.95, 0.95, 0.75, 0.35, 0.85]
    scores[~mask] = np.arange(10) / 10
    return [(scores, mask)]


def test_pro_of_two_regions_is_the_area_drawn_by_hand() -> None:
    # FPR 0..0.1 (0.9 is above 0.85): overlap (2/4 + 0) / 2; 0.1..0.2: (2/4 + 1) / 2;
    # 0.2..0.3: (3/4 + 1) / 2.
    area = 0.1 * 0.25 + 0.1 * 0.75 + 0.1 * 0.875
    assert gathered(two_regions()).pro() == pytest.approx(area / 0.3)


def test_pro_is_interpolated_at_a_limit_between_two_rates() -> None:
    area = 0.1 * 0.25 + 0.05 * 0.75
    assert gathered(two_regions()).pro(limit=0.15) == pytest.approx(area / 0.15)


def test_a_small_region_weighs_as_much_as_a_large_one() -> None:
    mask = np.zeros((10, 12), dtype=bool)
    mask[:, :9] = True
    mask[4, 11] = True
    scores = np.where(mask, 1, 0).astype(np.float32)
    scores[4, 11] = -1
    assert gathered([(scores, mask)]).pro() == pytest.approx(0.5)


def test_a_perfect_map_has_pro_one() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((40, 40)) < 0.1
    assert gathered([(mask.astype(np.float32), mask)]).pro() == pytest.approx(1)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_a_constant_map_follows_the_diagonal_to_half_the_limit(limit: float) -> None:
    mask = np.eye(8, dtype=bool)
    flat = np.full((8, 8), 0.4, dtype=np.float32)
    assert gathered([(flat, mask)]).pro(limit=limit) == pytest.approx(limit / 2)


def test_a_map_whose_overlap_equals_its_false_positives_has_pro_0_15() -> None:
    mask = np.repeat([[False, True]], 1000, axis=0)
    ramp = np.repeat(np.linspace(0, 1, 1000, dtype=np.float32)[:, None], 2, axis=1)
    assert gathered([(ramp, mask)]).pro() == pytest.approx(0.15)


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    assert label_regions(np.eye(5, dtype=bool))[1] == 1


@settings(max_examples=60, deadline=None)
@given(small_sets(), st.sampled_from([0.07, 0.3, 1.0]))
def test_pro_equals_the_area_over_every_threshold(images: Images, limit: float) -> None:
    assert gathered(images).pro(limit=limit) == pytest.approx(exhaustive_pro(images, limit))


@settings(max_examples=40, deadline=None)
@given(small_sets())
def test_the_area_under_the_pro_curve_is_pro_at_limit_one(images: Images) -> None:
    pixels = gathered(images)
    x, y = pixels.pro_curve()
    assert reference.auc(x, y) == pytest.approx(pixels.pro(limit=1.0))


def test_a_thinned_pro_curve_keeps_its_ends_and_stays_near_the_full_one() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((60, 60)) < 0.2
    pixels = gathered([((rng.random((60, 60)) + mask / 2).astype(np.float32), mask)])
    full, thin = pixels.pro_curve(10_000), pixels.pro_curve(64)
    assert len(thin.x) <= 64 < len(full.x)
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (0, 0, 1, 1)
    far = np.abs(full.x[:, None] - thin.x) + np.abs(full.y[:, None] - thin.y)
    assert far.min(axis=1).max() <= 2 / 63


def test_the_rescaled_mode_equals_its_own_definition() -> None:
    rng = np.random.default_rng(2)
    images = []
    for _ in range(3):
        mask = ndimage.binary_dilation(rng.random((30, 30)) < 0.01, iterations=2)
        images.append(((rng.random((30, 30)) + 0.7 * mask).astype(np.float32), mask))
    values = np.concatenate([scores.ravel() for scores, _ in images])
    step = (values.max() - values.min()) / np.float32(1000)
    thresholds = values.max() - np.arange(1000, dtype=np.float32) * step
    x, y = exhaustive(images, thresholds, strictly=True).T
    x, y = x[x <= 0.3], y[x <= 0.3]
    expected = reference.auc((x - x.min()) / (x.max() - x.min()), y)
    assert gathered(images).pro(mode="rescaled") == pytest.approx(expected)


def test_the_rescaled_mode_is_undefined_when_a_single_rate_is_left() -> None:
    mask = np.eye(4, dtype=bool)
    assert math.isnan(gathered([(mask.astype(np.float32), mask)]).pro(mode="rescaled"))


def test_a_small_block_size_does_not_change_pro(monkeypatch: pytest.MonkeyPatch) -> None:
    images = two_regions()
    whole = gathered(images).pro()
    monkeypatch.setattr(module, "BLOCK", 2)
    assert gathered(images).pro() == pytest.approx(whole)


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"limit": 1.1}, {"mode": "exact"}])
def test_an_impossible_limit_or_mode_is_refused(arguments: dict) -> None:
    ones = np.ones(1, dtype=np.float32)
    with pytest.raises(ConfigError) as caught:
        pro(ones, ones, np.zeros(1, dtype=np.int32), **arguments)
    assert caught.value.hint
