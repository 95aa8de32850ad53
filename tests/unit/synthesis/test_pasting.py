import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.errors import ImageError
from blemish.synthesis import crop_and_paste, cut_paste, poisson_blend, poisson_paste


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def disc(height, width, row, column, radius):
    rows, columns = np.ogrid[:height, :width]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def everywhere(image):
    return np.ones(image.shape[:2], np.bool_)


@pytest.mark.parametrize("paste", [crop_and_paste, poisson_paste])
@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(9, 40),
    width=st.integers(9, 40),
    radius=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_outside_the_new_mask_the_photo_is_unchanged_bit_for_bit(paste, height, width, radius, seed):
    defect, good = photo(30, 26, 1), photo(height, width, 2)
    mask = disc(30, 26, 14, 13, radius)
    image, where = paste(defect, mask, good, everywhere(good), np.random.default_rng(seed))
    assert where.any()
    assert np.array_equal(image[~where], good[~where])


def test_the_pasted_pixels_are_those_of_the_defect_in_their_order():
    defect, good = photo(30, 26, 1), photo(40, 50, 2)
    mask = disc(30, 26, 14, 13, 5)
    image, where = crop_and_paste(defect, mask, good, everywhere(good), np.random.default_rng(3))
    assert np.array_equal(image[where], defect[mask])
    assert where.sum() == mask.sum()


def test_a_defect_is_pasted_onto_the_product_where_it_fits():
    defect, good = photo(30, 26, 1), photo(40, 50, 2)
    mask, product = disc(30, 26, 14, 13, 3), np.zeros((40, 50), np.bool_)
    product[5:30, 10:40] = True
    for seed in range(20):
        _, where = crop_and_paste(defect, mask, good, product, np.random.default_rng(seed))
        assert product[where].mean() > 0.5


def test_places_differ_between_streams_and_repeat_with_one():
    defect, good = photo(30, 26, 1), photo(60, 60, 2)
    mask = disc(30, 26, 14, 13, 3)
    places = [
        crop_and_paste(defect, mask, good, everywhere(good), np.random.default_rng(seed))[1]
        for seed in (0, 1, 0)
    ]
    assert not np.array_equal(places[0], places[1])
    assert np.array_equal(places[0], places[2])


def test_a_blend_of_a_source_that_differs_by_a_constant_is_the_photo_itself():
    good = photo(20, 24, 5) // 2
    mask = disc(20, 24, 9, 11, 5)
    assert np.array_equal(poisson_blend(good + np.uint8(40), good, mask), good)


def test_a_blend_solves_the_discrete_poisson_equation():
    source, good = photo(16, 18, 1), np.full((16, 18, 3), 128, np.uint8)
    source = source // 8 + np.uint8(110)  # gentle, so that nothing is cut off at 0 or 255
    mask = disc(16, 18, 8, 9, 4)
    made = poisson_blend(source, good, mask).astype(float)
    for row, column in np.argwhere(mask):
        total = np.zeros(3)
        for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            other = row + down, column + right
            total += (made[row, column] - made[other]) - (
                source[row, column].astype(float) - source[other].astype(float)
            )
        assert np.abs(total).max() <= 4  # eight values rounded to whole levels


def test_a_blend_at_the_border_of_the_photo_agrees_with_the_sides_that_it_has():
    good = photo(12, 12, 5) // 2
    mask = np.zeros((12, 12), np.bool_)
    mask[:4, :5] = True
    assert np.array_equal(poisson_blend(good + np.uint8(40), good, mask), good)


def test_a_mask_over_the_whole_photo_leaves_the_source():
    source, good = photo(8, 8, 1), photo(8, 8, 2)
    assert np.array_equal(poisson_blend(source, good, everywhere(good)), source)


def test_a_cut_and_pasted_rectangle_stays_within_its_mask_and_on_the_product():
    good = photo(50, 60, 2)
    product = disc(50, 60, 25, 30, 18)
    for seed in range(20):
        image, where = cut_paste(good, product, np.random.default_rng(seed))
        assert not (where & ~product).any()
        assert np.array_equal(image[~where], good[~where])
        assert where.mean() <= 0.16


def test_a_grey_photo_stays_grey():
    good = np.repeat(photo(50, 60, 2)[..., :1], 3, axis=2)
    image, _ = cut_paste(good, everywhere(good), np.random.default_rng(1))
    assert np.ptp(image, axis=2).max() == 0


def test_an_empty_mask_and_unlike_shapes_are_refused():
    good = photo(20, 20)
    with pytest.raises(ImageError, match="empty"):
        crop_and_paste(
            good, np.zeros((20, 20), np.bool_), good, everywhere(good), np.random.default_rng(0)
        )
    with pytest.raises(ImageError, match="expected a source of shape"):
        poisson_blend(photo(19, 20), good, everywhere(good))
