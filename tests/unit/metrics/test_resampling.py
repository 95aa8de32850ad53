import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from blemish.errors import ImageError
from blemish.metrics import ImageCounts, percentile_interval, redrawn, weighted_auroc


def photos(count, side, seed, levels=None):
    rng = np.random.default_rng(seed)
    masks = [rng.random((side, side)) < 0.2 for _ in range(count)]
    maps = [rng.normal(mask * 1.0, 1.0).astype(np.float32) for mask in masks]
    if levels:
        maps = [np.round(scores * levels) / levels for scores in maps]
    return maps, masks


def repeated(maps, masks, weights):
    scores = np.concatenate([np.repeat(s.ravel(), w) for s, w in zip(maps, weights, strict=True)])
    truth = np.concatenate([np.repeat(m.ravel(), w) for m, w in zip(masks, weights, strict=True)])
    return truth, scores


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [0, 3, 1, 2], [5, 0, 0, 1]])
def test_few_score_levels_give_the_very_average_precision_of_repeated_photos(weights):
    maps, masks = photos(4, 12, 0, levels=8)
    counts = ImageCounts.of(maps, masks)
    expected = average_precision_score(*repeated(maps, masks, weights))
    assert counts.average_precision(weights) == pytest.approx(expected, abs=1e-12)


def test_binned_average_precision_is_that_of_all_pixels_within_a_thousandth():
    maps, masks = photos(6, 80, 1)
    counts = ImageCounts.of(maps, masks)
    expected = average_precision_score(*repeated(maps, masks, [1] * 6))
    assert counts.normal.shape[1] < 1100
    assert counts.average_precision() == pytest.approx(expected, abs=1e-3)


def test_rare_defects_are_binned_as_finely():
    rng = np.random.default_rng(2)
    masks = [rng.random((200, 200)) < 0.001 for _ in range(5)]
    maps = [rng.normal(mask * 4.0, 1.0).astype(np.float32) for mask in masks]
    expected = average_precision_score(*repeated(maps, masks, [1] * 5))
    assert ImageCounts.of(maps, masks).average_precision() == pytest.approx(expected, abs=3e-3)


def test_every_valid_pixel_is_counted_once():
    maps, masks = photos(3, 10, 3)
    valid = [np.tri(10, dtype=bool)] * 3
    counts = ImageCounts.of(maps, masks, valid)
    assert counts.defect.sum(1).tolist() == [int((m & np.tri(10, dtype=bool)).sum()) for m in masks]
    assert (counts.normal + counts.defect).sum() == 3 * 55


def test_without_a_defect_pixel_it_is_undefined():
    maps, masks = photos(2, 6, 4)
    counts = ImageCounts.of(maps, [masks[0], np.zeros((6, 6), bool)])
    assert np.isnan(counts.average_precision([0, 1]))
    with pytest.raises(ImageError, match="as many maps as masks"):
        ImageCounts.of([], [])


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 4)), min_size=2, max_size=30)
)
def test_weighted_auroc_is_that_of_repeated_photos(rows):
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    truth, values = np.repeat(labels, weights), np.repeat(scores, weights)
    found = weighted_auroc(scores, labels, weights)
    if len(set(truth.tolist())) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(truth, values), abs=1e-12)


def test_as_many_photos_of_each_label_are_drawn_as_there_are():
    labels = ["good"] * 7 + ["crack"] * 2 + ["stain"]
    weights = redrawn(labels, np.random.default_rng(0), 50)
    assert weights.shape == (50, 10)
    assert (weights[:, :7].sum(1) == 7).all()
    assert (weights[:, 7:9].sum(1) == 2).all()
    assert (weights[:, 9] == 1).all()
    assert len({tuple(row) for row in weights}) > 40


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation():
    rng = np.random.default_rng(1)
    values = rng.normal(size=400)
    weights = redrawn(["good"] * 400, rng, 4000)
    low, high = percentile_interval(lambda w: float(w @ values / 400), weights)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_a_method_does_not_differ_from_itself_and_differs_from_one_that_is_always_better():
    maps, masks = photos(10, 12, 5)
    better = [scores + 2 * mask for scores, mask in zip(maps, masks, strict=True)]
    one, other = ImageCounts.of(maps, masks), ImageCounts.of(better, masks)
    weights = redrawn(["crack"] * 10, np.random.default_rng(0), 200)
    same = percentile_interval(lambda w: one.average_precision(w) - one.average_precision(w), weights)
    gain = percentile_interval(lambda w: other.average_precision(w) - one.average_precision(w), weights)
    assert same == (0.0, 0.0)
    assert gain.low > 0


def test_an_undefined_repeat_leaves_no_interval():
    weights = redrawn(["good", "good"], np.random.default_rng(0), 10)
    found = percentile_interval(lambda w: float("nan") if w[0] == 0 else 1.0, weights)
    assert all(np.isnan(found))
