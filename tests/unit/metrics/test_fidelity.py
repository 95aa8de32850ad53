from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from blemish.metrics.fidelity import (
    _logistic,
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
