from __future__ import annotations

import numpy as np
import pytest

from blemish.verdicts import image_score


def values(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((size, size), dtype=np.float32)


def everywhere(size: int) -> np.ndarray:
    return np.ones((size, size), np.bool_)


@pytest.mark.parametrize(("size", "count"), [(256, 50), (512, 200), (128, 12), (64, 3), (32, 1)])
def test_the_score_is_the_mean_of_the_largest_pixels_in_proportion_to_the_square(size, count):
    found = image_score(values(size), everywhere(size), size)
    largest = np.sort(values(size), axis=None)[-count:].astype(np.float64)
    assert found == pytest.approx(largest.mean(), rel=1e-12)


def test_what_the_map_says_about_padding_does_not_count():
    given, valid = values(64), everywhere(64)
    given[:, :10], valid[:, :10] = 1.0, False
    largest = np.sort(given[valid])[-3:].astype(np.float64)
    assert image_score(given, valid, 64) == pytest.approx(largest.mean(), rel=1e-12)


def test_padding_does_not_change_how_many_pixels_count():
    given, valid = np.zeros((256, 256), np.float32), np.zeros((256, 256), np.bool_)
    valid[:128] = True
    given[:5, :10] = 1.0
    assert image_score(given, valid, 256) == 1.0


def test_a_small_defect_scores_alike_on_one_square_and_on_many():
    scores = []
    for shape in ((256, 256), (2048, 3072)):
        given = np.full(shape, 0.3, np.float32)
        given[:7, :8] = 0.9
        scores.append(image_score(given, np.ones(shape, np.bool_), 256))
    assert scores == pytest.approx([0.9, 0.9])


def test_a_strip_with_fewer_pixels_than_count_is_averaged_whole():
    given, valid = np.zeros((256, 256), np.float32), np.zeros((256, 256), np.bool_)
    valid[0, :40] = True
    given[0, :20] = 1.0
    assert image_score(given, valid, 256) == 0.5
