from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from blemish.metrics.fidelity import (
    _logistic,
    drawn_members,
    inception_score,
    intra_cluster_distance,
    kernel_distance,
    separability,
)


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased MMD, pair by pair."""

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    n, m = len(x), len(y)
    first = np.mean([k(x[i], x[j]) for i in range(n) for j in range(n) if i != j])
    second = np.mean([k(y[i], y[j]) for i in range(m) for j in range(m) if i != j])
    return float(first + second - 2 * np.mean([k(a, b) for a in x for b in y]))


def test_the_kernel_distance_is_its_definition_pair_by_pair():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 5)), rng.normal(1, 2, size=(9, 5))
    assert kernel_distance(x, y) == pytest.approx(by_definition(x, y), rel=1e-12)


def test_the_kernel_distance_is_that_of_torch_fidelity_with_all_pictures_in_one_subset():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 5)), rng.normal(1, 2, size=(12, 5))
    reference = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=12, verbose=False
    )
    assert kernel_distance(x, y) == pytest.approx(reference["kernel_inception_distance_mean"])


def test_the_kernel_distance_of_one_distribution_is_zero_on_average_and_below_at_times():
    rng = np.random.default_rng(1)
    found = [kernel_distance(*rng.normal(size=(2, 12, 6))) for _ in range(400)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20
    assert min(found) < 0
    assert kernel_distance(rng.normal(size=(12, 6)), rng.normal(3, 1, size=(12, 6))) > max(found)


def test_a_single_picture_has_no_kernel_distance():
    assert np.isnan(kernel_distance(np.ones((1, 3)), np.ones((5, 3))))


def test_the_logistic_fit_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 4))
    labels = x[:, 0] + 0.5 * rng.normal(size=40) > 0.4
    reference = LogisticRegression(C=1 / 3.0, class_weight="balanced", tol=1e-10, max_iter=1000)
    reference.fit(x, labels)
    mine = _logistic(x, labels, 3.0)
    np.testing.assert_allclose(mine[:-1], reference.coef_[0], atol=1e-4)
    np.testing.assert_allclose(mine[-1], reference.intercept_[0], atol=1e-4)


def test_sets_far_apart_are_told_apart_and_draws_of_one_are_not():
    rng = np.random.default_rng(3)
    same = [separability(*rng.normal(size=(2, 30, 8)), rng) for _ in range(20)]
    assert abs(np.mean(same) - 0.5) < 0.1
    assert separability(rng.normal(size=(30, 8)), rng.normal(4, 1, size=(20, 8)), rng) > 0.99
    assert np.isnan(separability(np.ones((1, 2)), np.ones((4, 2)), rng))


def test_no_vector_is_judged_by_a_fit_that_has_seen_it():
    # Labels at random over more numbers than vectors: a fit that saw them would know them all.
    rng = np.random.default_rng(4)
    found = [separability(*rng.normal(size=(2, 15, 200)), rng, penalty=1e-3) for _ in range(20)]
    assert abs(np.mean(found) - 0.5) < 0.15


def test_copies_of_one_picture_have_no_distance_within_their_cluster():
    assert intra_cluster_distance(np.zeros((4, 4)), np.array([[0.0, 1.0]] * 4)) == 0


def test_distances_are_averaged_within_clusters_then_over_them():
    apart = np.array(
        [[0, 2, 9, 9, 9], [2, 0, 9, 9, 9], [9, 9, 0, 3, 6], [9, 9, 3, 0, 3], [9, 9, 6, 3, 0]]
    )
    to_real = np.array([[0, 1], [0, 1], [1, 0], [1, 0], [1, 0]])
    assert intra_cluster_distance(apart, to_real) == pytest.approx((2 + 4) / 2)
    assert np.isnan(intra_cluster_distance(apart[1:3, 1:3], to_real[1:3]))


@pytest.mark.parametrize(("count", "splits"), [(40, 10), (37, 10), (10, 1)])
def test_the_inception_score_is_that_of_torch_fidelity(count, splits):
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 3, size=(count, 20)))
    reference = isc_features_to_metric(logits, splits, shuffle=True, rng_seed=2020)
    order = np.random.RandomState(2020)
    found = inception_score(logits.softmax(1).numpy(), order, splits=splits)
    assert found.mean == pytest.approx(reference["inception_score_mean"], rel=1e-12)
    assert found.deviation == pytest.approx(reference["inception_score_std"], rel=1e-9, abs=1e-12)


def test_sure_classes_evenly_seen_score_their_number_and_equal_pictures_score_one():
    rng = np.random.default_rng(0)
    assert inception_score(np.eye(4)[np.arange(8) % 4], rng, splits=1) == pytest.approx((4, 0))
    assert inception_score(np.full((20, 4), 0.25), rng) == pytest.approx((1, 0))
    assert np.isnan(inception_score(np.eye(4), rng)).all()


def test_a_full_cluster_gives_so_many_members_at_random_and_a_small_one_all():
    to_real = np.array([[0.0, 1.0]] * 9 + [[1.0, 0.0]] * 2)
    rng = np.random.default_rng(0)
    draws = [drawn_members(to_real, rng, most=3) for _ in range(60)]
    for kept in draws:
        assert kept.tolist() == sorted(set(kept.tolist()))
        assert (kept < 9).sum() == 3
        assert kept[-2:].tolist() == [9, 10]
    assert {int(i) for kept in draws for i in kept} == set(range(11))
    assert drawn_members(to_real, rng).tolist() == list(range(11))
    assert len(drawn_members(np.zeros((0, 2)), rng)) == 0
