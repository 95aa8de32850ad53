"""How close generated pictures are to real ones, and how varied: figures over feature vectors.

Which network the features come from decides what a figure means: it is named wherever one is printed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import rel_entr

from blemish.metrics.ranking import auroc

Vectors = npt.NDArray[np.floating]


class InceptionScore(NamedTuple):
    """Mean and deviation over the splits; NaNs where there are fewer pictures than splits."""

    mean: float
    deviation: float


def inception_score(
    probabilities: Vectors, rng: np.random.Generator | np.random.RandomState, *, splits: int = 10
) -> InceptionScore:
    """Return how sure a classifier is of each picture, of how many classes (Salimans et al. 2016).

        exp(mean_x KL(p(y | x) || p(y))),    p(y) = mean_x p(y | x),    of each split

    From 1, every picture alike, to the number of classes. The pictures are shuffled, then split; with
    `RandomState(2020)` as torch-fidelity does it. Few pictures in a split bias it down.
    probabilities: (n, classes), each row of sum 1.
    """
    count = len(probabilities)
    if count < splits:
        return InceptionScore(float("nan"), float("nan"))
    shuffled = np.asarray(probabilities, np.float64)[rng.permutation(count)]
    edges = [i * count // splits for i in range(splits + 1)]
    parts = [shuffled[first:last] for first, last in pairwise(edges)]
    scores = [np.exp(rel_entr(part, part.mean(0)).sum(1).mean()) for part in parts]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def kernel_distance(some: Vectors, others: Vectors) -> float:
    """Return the squared MMD of two sets of features, unbiased (KID, Binkowski et al. 2018).

        k(x, y) = (x . y / d + 1)^3
        mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

    About 0 for two draws of one distribution, also below. some, others: (n, d) and (m, d), n, m >= 2;
    fewer give NaN.
    """
    x, y = (np.asarray(values, np.float64) for values in (some, others))
    if min(len(x), len(y)) < 2:
        return float("nan")

    def kernel(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = (a @ b.T / a.shape[1] + 1) ** 3
        return values

    def within(a: npt.NDArray[np.float64]) -> float:
        values = kernel(a, a)
        return float((values.sum() - np.trace(values)) / (len(a) * (len(a) - 1)))

    return within(x) + within(y) - 2 * float(kernel(x, y).mean())


def separability(
    some: Vectors, others: Vectors, rng: np.random.Generator, *, folds: int = 5, penalty: float = 100.0
) -> float:
    """Return how well a small classifier tells two sets apart: cross-validated AUROC, 0.5 is chance.

        min_w  sum_i c_i log(1 + exp(-y_i (w . x_i + b))) + penalty / 2 |w|^2

    A logistic regression on standardised features, the two sets weighing the same (c_i); each vector is
    judged by a fit that has not seen it. some, others: (n, d) and (m, d), at least 2 each, or NaN.
    """
    x = np.concatenate([some, others]).astype(np.float64)
    labels = np.concatenate([np.zeros(len(some), bool), np.ones(len(others), bool)])
    folds = min(folds, len(some), len(others))
    if folds < 2:
        return float("nan")
    fold = np.zeros(len(x), int)
    for value in (False, True):
        members = np.flatnonzero(labels == value)
        fold[rng.permutation(members)] = np.arange(len(members)) % folds
    areas = []
    for number in range(folds):
        seen = fold != number
        centre, scale = x[seen].mean(0), x[seen].std(0) + 1e-6
        weights = _logistic((x[seen] - centre) / scale, labels[seen], penalty)
        scores = ((x[~seen] - centre) / scale) @ weights[:-1] + weights[-1]
        # Within a fold: the scores of different fits cannot be ranked against each other.
        areas.append(auroc(scores, labels[~seen]))
    return float(np.mean(areas))


def _logistic(
    x: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_], penalty: float
) -> npt.NDArray[np.float64]:
    """Return the weights of a penalised logistic regression, the intercept last."""
    sign = np.where(labels, 1.0, -1.0)
    count = np.where(labels, len(x) / (2 * labels.sum()), len(x) / (2 * (~labels).sum()))

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        margin = sign * (x @ weights[:-1] + weights[-1])
        pull = -count * sign / (1 + np.exp(np.clip(margin, -500, 500)))
        value = (count * np.logaddexp(0, -margin)).sum() + penalty / 2 * (weights[:-1] ** 2).sum()
        slope = np.append(x.T @ pull + penalty * weights[:-1], pull.sum())
        return float(value), slope

    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B")
    return np.asarray(found.x)


def intra_cluster_distance(
    distances: npt.NDArray[np.floating], to_real: npt.NDArray[np.floating]
) -> float:
    """Return the mean distance of pictures to others of their cluster (IC-LPIPS, Ojha et al. 2021).

    Each picture belongs to the real one that it is nearest to; distances are averaged over the pairs of
    a cluster, then over clusters of two and more. 0 for copies of one picture; NaN where no cluster has
    two. distances: (n, n) between generated pictures; to_real: (n, k), to the k real ones.
    """
    owner = to_real.argmin(1)
    means = []
    for cluster in np.unique(owner):
        members = np.flatnonzero(owner == cluster)
        if len(members) > 1:
            part = distances[np.ix_(members, members)]
            means.append(part.sum() / (len(members) * (len(members) - 1)))
    return float(np.mean(means)) if means else float("nan")


def drawn_members(
    to_real: npt.NDArray[np.floating], rng: np.random.Generator, most: int = 50
) -> npt.NDArray[np.intp]:
    """Return which pictures count: at most so many of each cluster, drawn at random; in order.

    A picture's cluster is the real one that it is nearest to. to_real: distances (n, k).
    """
    owner = to_real.argmin(1)
    clusters = (np.flatnonzero(owner == cluster) for cluster in np.unique(owner))
    kept = [c if len(c) <= most else rng.choice(c, most, replace=False) for c in clusters]
    return np.sort(np.concatenate([np.zeros(0, np.intp), *kept]))
