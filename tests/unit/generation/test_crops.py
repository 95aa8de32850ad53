import numpy as np
import pytest

from blemish.errors import ConfigError, ImageError
from blemish.generation.crops import Window, paste, window_around

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8)


def blob(shape, row, column, height=7, width=9):
    mask = np.zeros(shape, np.bool_)
    mask[row : row + height, column : column + width] = True
    return mask


def made_for(window, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (window.size, window.size, 3), dtype=np.uint8)


@pytest.mark.parametrize("corner", [(0, 0), (40, 60), (83, 111)])
def test_a_mask_that_fits_is_seen_at_the_photos_own_resolution(corner):
    mask = blob((90, 120), *corner)
    window = window_around(mask, 48)
    assert window.scale == 1
    assert 0 <= window.top <= 90 - 48
    assert 0 <= window.left <= 120 - 48
    seen = np.s_[window.top : window.top + 48, window.left : window.left + 48]
    np.testing.assert_array_equal(window.cut(PHOTO), PHOTO[seen])
    np.testing.assert_array_equal(window.cut_mask(mask), mask[seen])
    assert window.cut_mask(mask).sum() == mask.sum()


def test_a_larger_mask_is_scaled_down_until_it_has_its_margin():
    mask = blob((90, 120), 10, 10, 60, 70)
    window = window_around(mask, 48, margin=6)
    assert window.side == -(-70 * 48 // 36)
    assert window.scale == 48 / 94
    inside = np.argwhere(window.cut_mask(mask))
    assert inside.min() >= 5
    assert inside.max() <= 48 - 6
    assert window.cut(PHOTO).shape == (48, 48, 3)


def test_a_photo_smaller_than_the_window_is_mirrored():
    photo = PHOTO[:20, :30]
    window = window_around(blob((20, 30), 5, 5), 64)
    around = ((22, 22), (17, 17))
    expected = np.pad(photo, (*around, (0, 0)), mode="reflect")
    np.testing.assert_array_equal(window.cut(photo), expected)
    mask = blob((20, 30), 5, 5)
    np.testing.assert_array_equal(window.cut_mask(mask), np.pad(mask, around))


def test_a_hairline_survives_the_scaling():
    mask = np.zeros((90, 120), np.bool_)
    mask[45, 5:115] = True
    window = window_around(mask, 32, margin=4)
    assert window.scale < 0.25
    assert window.cut_mask(mask).any(axis=0).sum() >= 23


@pytest.mark.parametrize("feather", [0, 3])
@pytest.mark.parametrize(("height", "width"), [(7, 9), (70, 100)])
def test_outside_the_mask_the_result_is_the_photo_bit_for_bit(height, width, feather):
    mask = blob((90, 120), 8, 9, height, width)
    window = window_around(mask, 48, margin=4)
    result, label = paste(PHOTO, made_for(window), mask, window, feather)
    np.testing.assert_array_equal(result[~mask], PHOTO[~mask])
    np.testing.assert_array_equal(label, mask)
    assert (result[mask] != PHOTO[mask]).any(axis=-1).mean() > 0.9


def test_at_the_photos_resolution_the_inside_is_what_the_network_made():
    mask = blob((90, 120), 30, 50)
    window = window_around(mask, 48)
    made = made_for(window)
    result, _ = paste(PHOTO, made, mask, window)
    np.testing.assert_array_equal(
        window.cut(result)[window.cut_mask(mask)], made[window.cut_mask(mask)]
    )


def test_a_network_that_changes_nothing_leaves_the_photo_even_when_scaled():
    mask = blob((90, 120), 8, 9, 70, 100)
    window = window_around(mask, 48, margin=4)
    result, _ = paste(PHOTO, window.cut(PHOTO), mask, window)
    np.testing.assert_array_equal(result, PHOTO)


def test_a_feather_fades_in_from_the_edge_and_is_full_in_the_middle():
    photo = np.full((40, 40, 3), 100, np.uint8)
    mask = blob((40, 40), 10, 10, 11, 21)
    window = Window(0, 0, 40, 40)
    result, _ = paste(photo, np.full((40, 40, 3), 140, np.uint8), mask, window, feather=3)
    assert result[15, 9:16, 0].tolist() == [100, 110, 120, 130, 140, 140, 140]


def test_a_thin_mask_is_painted_in_full_along_its_middle():
    photo = np.full((40, 40, 3), 100, np.uint8)
    mask = blob((40, 40), 10, 10, 3, 20)
    window = Window(0, 0, 40, 40)
    result, _ = paste(photo, np.full((40, 40, 3), 140, np.uint8), mask, window, feather=8)
    assert result[10:13, 20, 0].tolist() == [120, 140, 120]


def test_no_feather_fades_where_the_frame_cuts_the_defect_off():
    photo = np.full((40, 40, 3), 100, np.uint8)
    mask = blob((40, 40), 0, 10, 20, 20)
    window = Window(0, 0, 40, 40)
    result, _ = paste(photo, np.full((40, 40, 3), 140, np.uint8), mask, window, feather=3)
    assert result[0, 20, 0] == 140


def test_what_lies_outside_the_window_is_not_labelled():
    mask = blob((90, 120), 10, 10, 20, 60)
    window = Window(0, 0, 40, 40)
    result, label = paste(PHOTO, made_for(window), mask, window)
    np.testing.assert_array_equal(label, mask & (np.arange(120) < 40))
    np.testing.assert_array_equal(result[~label], PHOTO[~label])


def test_what_does_not_belong_together_is_refused():
    mask = blob((90, 120), 10, 10)
    with pytest.raises(ImageError):
        window_around(np.zeros((9, 9), np.bool_), 48)
    with pytest.raises(ConfigError):
        window_around(mask, 32, margin=16)
    window = window_around(mask, 48)
    with pytest.raises(ImageError, match="square of 48"):
        paste(PHOTO, made_for(window)[1:], mask, window)
    with pytest.raises(ImageError):
        paste(PHOTO, made_for(window), mask[1:], window)
