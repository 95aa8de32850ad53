from __future__ import annotations

import numpy as np
import pytest

from blemish.detection.photos import View
from blemish.detection.variation import in_other_light

SIDE = 65


def plain(level: int) -> View:
    everywhere = np.ones((SIDE, SIDE), np.bool_)
    return View(np.full((SIDE, SIDE, 3), level, np.uint8), everywhere, everywhere)


def test_the_light_is_what_was_drawn_at_nine_places_and_smooth_in_between():
    found = in_other_light(plain(100), 0.1, np.random.default_rng(5)).image.astype(float)
    rng = np.random.default_rng(5)
    expected = 100 * np.exp(rng.normal(0, 0.1, (3, 3)) + rng.normal(0, 0.1))
    at = (0, SIDE // 2, SIDE - 1)
    assert found[np.ix_(at, at)][..., 0] == pytest.approx(expected, abs=0.5)
    assert np.abs(np.diff(found, axis=0)).max() <= 3
    assert np.abs(np.diff(found, axis=1)).max() <= 3


def test_a_photo_keeps_its_hue_its_masks_and_its_ends_of_the_scale():
    photo = plain(0)
    photo.image[:20], photo.image[20:40] = (200, 100, 50), 255
    found = in_other_light(photo, 0.1, np.random.default_rng(1))
    top = found.image[:20].astype(float)
    assert np.abs(top[..., 0] - 2 * top[..., 1]).max() <= 1.5
    assert np.abs(top[..., 1] - 2 * top[..., 2]).max() <= 1.5
    assert not found.image[40:].any()
    assert found.image[20:40].min() > 100  # nothing wraps around
    assert found.valid is photo.valid
    assert found.allowed is photo.allowed


def test_without_spread_nothing_changes_and_nothing_is_drawn():
    rng, photo = np.random.default_rng(3), plain(90)
    assert in_other_light(photo, 0, rng) is photo
    assert rng.random() == np.random.default_rng(3).random()


def test_levels_vary_as_much_as_they_should():
    middles = [
        in_other_light(plain(100), 0.1, np.random.default_rng(seed)).image[SIDE // 2, SIDE // 2, 0]
        for seed in range(400)
    ]
    spread = np.log(np.array(middles) / 100).std()
    assert spread == pytest.approx(0.1 * np.sqrt(2), rel=0.12)  # the photo's level, and the place's
