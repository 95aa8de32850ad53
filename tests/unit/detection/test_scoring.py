from __future__ import annotations

import numpy as np
import pytest
import torch

from blemish.detection.scoring import NoiseField, image_score


def values(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((size, size), dtype=np.float32)


def everywhere(size: int) -> np.ndarray:
    return np.ones((size, size), np.bool_)


@pytest.mark.parametrize(("size", "count"), [(256, 50), (512, 200), (128, 12), (64, 3), (32, 1)])
def test_the_score_is_the_mean_of_the_largest_pixels_in_proportion_to_the_map(size, count):
    found = image_score(values(size), everywhere(size))
    largest = np.sort(values(size), axis=None)[-count:].astype(np.float64)
    assert found == pytest.approx(largest.mean(), rel=1e-12)


def test_what_the_map_says_about_padding_does_not_count():
    given, valid = values(64), everywhere(64)
    given[:, :10], valid[:, :10] = 1.0, False
    largest = np.sort(given[valid])[-3:].astype(np.float64)
    assert image_score(given, valid) == pytest.approx(largest.mean(), rel=1e-12)


def test_padding_does_not_change_how_many_pixels_count():
    given, valid = np.zeros((256, 256), np.float32), np.zeros((256, 256), np.bool_)
    valid[:128] = True
    given[:5, :10] = 1.0
    assert image_score(given, valid) == 1.0


def test_a_strip_with_fewer_pixels_than_count_is_averaged_whole():
    given, valid = np.zeros((256, 256), np.float32), np.zeros((256, 256), np.bool_)
    valid[0, :40] = True
    given[0, :20] = 1.0
    assert image_score(given, valid) == 0.5


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_equal_pictures_get_equal_noise_whoever_draws_it():
    one, other = NoiseField(64).windows(picture()), NoiseField(64).windows(picture())
    assert torch.equal(one, other)


def test_noise_follows_the_pixels_and_not_their_place_in_memory():
    field, upside_down = NoiseField(64), picture()[::-1]
    assert torch.equal(field.windows(upside_down), field.windows(upside_down.copy()))


def test_one_changed_pixel_changes_the_noise():
    field, other = NoiseField(64), picture()
    other[5, 7, 1] ^= 1
    assert not torch.equal(field.windows(picture()), field.windows(other))


def test_the_noise_is_standard_normal_and_the_two_scales_are_independent():
    fine, anchor = NoiseField(64).windows(picture()).flatten(1).double()
    for noise in (fine, anchor):
        assert float(noise.mean()) == pytest.approx(0, abs=0.04)
        assert float(noise.var()) == pytest.approx(1, abs=0.06)
    assert float(torch.corrcoef(torch.stack([fine, anchor]))[0, 1]) == pytest.approx(0, abs=0.04)
