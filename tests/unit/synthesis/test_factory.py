import numpy as np
import pytest
from scipy import ndimage

from blemish.errors import ConfigError
from blemish.synthesis.factory import DEFECTS, PRODUCTS, draw_defect, draw_good, visible_change

EVERY_DEFECT = [(product, defect) for product in PRODUCTS for defect in DEFECTS[product]]


def test_every_product_has_four_defects():
    assert {len(DEFECTS[product]) for product in PRODUCTS} == {4}
    assert set(DEFECTS) == set(PRODUCTS)


@pytest.mark.parametrize("size", [64, 101, 256])
@pytest.mark.parametrize(("product", "defect"), EVERY_DEFECT)
def test_outside_its_mask_a_defective_photo_equals_the_good_photo_of_the_same_stream(
    product, defect, size
):
    for seed in range(3):
        good = draw_good(product, size, np.random.default_rng(seed))
        image, mask = draw_defect(product, defect, size, np.random.default_rng(seed))
        assert image.shape == good.shape == (size, size, 3)
        assert mask.any()
        assert np.array_equal(image[~mask], good[~mask])


@pytest.mark.parametrize(("product", "defect"), EVERY_DEFECT)
def test_most_of_the_mask_has_changed_visibly(product, defect):
    shares = []
    for seed in range(4):
        good = draw_good(product, 256, np.random.default_rng(seed))
        image, mask = draw_defect(product, defect, 256, np.random.default_rng(seed))
        change = np.abs(image.astype(int) - good).max(axis=2)
        shares.append((change[mask] >= 10).mean())
    assert np.mean(shares) > 0.6


@pytest.mark.parametrize("defect", DEFECTS["nut"])
def test_a_defect_of_the_nut_lies_on_the_nut_or_in_its_shadow(defect):
    for seed in range(5):
        _, mask = draw_defect("nut", defect, 128, np.random.default_rng(seed))
        rows, columns = np.nonzero(mask)
        assert np.hypot(rows - 63.5, columns - 63.5).max() / 128 < 0.43


@pytest.mark.parametrize("product", PRODUCTS)
def test_good_photos_differ_from_one_another_but_not_with_the_same_stream(product):
    one, same, other = (draw_good(product, 64, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("product", "defect"), EVERY_DEFECT)
def test_good_and_defective_photos_leave_the_stream_in_the_same_state(product, defect):
    for_good, for_bad = np.random.default_rng(4), np.random.default_rng(4)
    draw_good(product, 64, for_good)
    draw_defect(product, defect, 64, for_bad)
    assert for_good.random() == for_bad.random()


def test_visible_change_fills_holes_and_ignores_specks_and_faint_changes():
    good = np.full((256, 256, 3), 100, np.uint8)
    bad = good.copy()
    bad[50:80, 50:80] = 160
    bad[60:70, 60:70] = 100
    bad[200, 200] = 255
    bad[100:120, 200:220, 1] = 105
    expected = np.zeros((256, 256), np.bool_)
    expected[50:80, 50:80] = True
    assert np.array_equal(visible_change(good, bad), expected)


def test_a_mask_holds_no_enclosed_holes():
    for seed in range(4):
        _, mask = draw_defect("nut", "rust", 128, np.random.default_rng(seed))
        assert np.array_equal(ndimage.binary_fill_holes(mask), mask)


def test_unknown_products_and_defects_and_tiny_photos_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="fabric, nut"):
        draw_good("gear", 256, rng)
    with pytest.raises(ConfigError, match="scratch"):
        draw_defect("nut", "stain", 256, rng)
    with pytest.raises(ConfigError, match="64"):
        draw_good("nut", 32, rng)
