import numpy as np
import pytest

from blemish.errors import ConfigError, ImageError
from blemish.synthesis.overlay import overlay, self_shuffle


def photo(seed, height=20, width=30):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_overlay_equals_equation_12_written_out():
    mask = np.random.default_rng(2).random((20, 30)).astype(np.float32)
    normal, appearance, opacity = photo(0), photo(1), 0.3
    m = mask[..., None].astype(np.float64)
    expected = (1 - m) * normal + (1 - opacity) * m * appearance + opacity * m * normal
    assert np.abs(overlay(normal, appearance, mask, opacity) - expected).max() <= 0.5 + 1e-3


def test_a_pixel_of_100_under_a_full_mask_with_a_quarter_shining_through_200_becomes_175():
    normal = np.full((1, 1, 3), 100, np.uint8)
    appearance = np.full((1, 1, 3), 200, np.uint8)
    assert overlay(normal, appearance, np.ones((1, 1), np.bool_), 0.25).tolist() == [[[175] * 3]]


@pytest.mark.parametrize("seed", range(20))
def test_outside_the_mask_the_photo_is_unchanged_bit_for_bit(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((20, 30)) < 0.3
    result = overlay(photo(seed), photo(seed + 1), mask, rng.random())
    assert np.array_equal(result[~mask], photo(seed)[~mask])


def test_opacity_zero_pastes_the_appearance_and_opacity_one_keeps_the_photo():
    mask = np.ones((20, 30), np.bool_)
    assert np.array_equal(overlay(photo(0), photo(1), mask, 0), photo(1))
    assert np.array_equal(overlay(photo(0), photo(1), mask, 1), photo(0))


def test_overlay_leaves_its_inputs_alone():
    normal = photo(0)
    overlay(normal, photo(1), np.ones((20, 30), np.bool_), 0.0)
    assert np.array_equal(normal, photo(0))


def test_arrays_that_do_not_belong_together_are_refused():
    mask = np.ones((20, 30), np.bool_)
    with pytest.raises(ImageError, match="mask"):
        overlay(photo(0), photo(1), mask[:, 1:], 0.5)
    with pytest.raises(ImageError, match="appearance"):
        overlay(photo(0), photo(1, 10), mask, 0.5)
    with pytest.raises(ImageError, match="uint8"):
        overlay(photo(0).astype(np.float32), photo(1), mask, 0.5)
    with pytest.raises(ConfigError, match="opacity"):
        overlay(photo(0), photo(1), mask, 1.5)


@pytest.mark.parametrize("size", [(64, 64), (30, 17), (5, 9)])
def test_shuffling_keeps_every_pixel_exactly_once(size):
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(height)[:, None], np.arange(width)
    shuffled = self_shuffle(image, np.random.default_rng(0)).reshape(-1, 3).tolist()
    assert sorted(shuffled) == sorted(image.reshape(-1, 3).tolist())


def test_shuffled_columns_have_the_even_strips_first_and_the_odd_strips_after():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0] = np.arange(8)
    for seed in range(20):
        columns = self_shuffle(image, np.random.default_rng(seed))[0, :, 0].tolist()
        assert set(columns[:4]) == {0, 2, 4, 6}
        assert set(columns[4:]) == {1, 3, 5, 7}


def test_a_row_strip_can_end_up_anywhere():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0] = np.arange(8)[:, None]
    places = {
        self_shuffle(image, np.random.default_rng(seed))[:, 0, 0].tolist().index(3)
        for seed in range(200)
    }
    assert places == set(range(8))
