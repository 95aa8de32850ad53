from __future__ import annotations

import numpy as np
import pytest

from blemish.errors import ImageError
from blemish.generation.transplants import transplanted
from blemish.generation.warps import Warp

STRAIGHT = np.zeros((2, 3, 3))
HALF_TURN = -np.eye(2)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(shape, rows, columns):
    mask = np.zeros(shape, np.bool_)
    mask[rows, columns] = True
    return mask


def moved(linear, centre, place):
    return Warp(linear, np.array(centre, float), np.ones(2), np.array(place, float), STRAIGHT)


def test_a_shift_brings_the_very_pixels_of_the_source_and_leaves_all_others():
    photo, source = noise(30, 40, 1), noise(25, 35, 2)
    mask = box((30, 40), slice(12, 18), slice(20, 31))
    made, label = transplanted(photo, mask, source, moved(np.eye(2), (5, 6), (13, 22)))
    np.testing.assert_array_equal(made[12:18, 20:31], source[4:10, 4:15])
    np.testing.assert_array_equal(made[~mask], photo[~mask])
    np.testing.assert_array_equal(label, mask)


def test_a_half_turn_turns_them():
    photo, source = noise(20, 20, 1), noise(20, 20, 2)
    mask = box((20, 20), slice(8, 13), slice(6, 11))
    made, _ = transplanted(photo, mask, source, moved(HALF_TURN, (5, 5), (10, 8)))
    np.testing.assert_array_equal(made[8:13, 6:11], source[3:8, 3:8][::-1, ::-1])


def test_fine_grain_averages_out_where_the_defect_shrinks():
    rows, columns = np.mgrid[:80, :80]
    grain = np.repeat(((rows + columns) % 2 * 200).astype(np.uint8)[..., None], 3, axis=2)
    mask = box((40, 40), slice(10, 30), slice(10, 30))
    shrunk = moved(np.eye(2) / 4, (40, 40), (20, 20))
    made, _ = transplanted(np.zeros((40, 40, 3), np.uint8), mask, grain, shrunk)
    assert np.abs(made[mask].astype(int) - 100).max() <= 5


def test_between_its_pixels_fine_grain_keeps_its_contrast():
    """Waves of four pixels, moved by half of one: straight lines would keep 71 %."""
    waves = 128 + 100 * np.sin(np.arange(60) * np.pi / 2 + np.pi / 4)
    source = np.repeat(np.rint(waves).astype(np.uint8)[None, :, None].repeat(20, 0), 3, axis=2)
    mask = box((20, 60), slice(5, 15), slice(20, 40))
    made, _ = transplanted(source, mask, source, moved(np.eye(2), (10, 30), (10, 30.5)))
    expected = 128 + 100 * np.sin((np.arange(20, 40) - 0.5) * np.pi / 2 + np.pi / 4)
    np.testing.assert_allclose(made[10, 20:40, 0], expected, atol=12)


def test_beyond_its_frame_the_source_is_mirrored():
    source = noise(10, 10)
    mask = box((10, 20), slice(0, 10), slice(0, 20))
    made, _ = transplanted(noise(10, 20, 1), mask, source, moved(np.eye(2), (0, 0), (0, 0)))
    np.testing.assert_array_equal(made[:, :10], source)
    np.testing.assert_array_equal(made[:, 10:19], source[:, -2::-1])


def test_a_mask_of_another_size_and_what_is_no_photo_are_refused():
    warp = moved(np.eye(2), (5, 5), (5, 5))
    with pytest.raises(ImageError):
        transplanted(noise(20, 20), np.ones((19, 20), np.bool_), noise(20, 20), warp)
    with pytest.raises(ImageError):
        transplanted(noise(20, 20), np.ones((20, 20), np.bool_), noise(20, 20)[..., 0], warp)
