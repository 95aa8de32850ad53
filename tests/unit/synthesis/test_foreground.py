import numpy as np
import pytest

from blemish.errors import DatasetError, ImageError
from blemish.synthesis.factory import draw_good
from blemish.synthesis.foreground import (
    foreground,
    otsu,
    product_kind,
    random_region,
    separation,
)


def disc_on_table(size=120, radius=35, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    disc = x**2 + y**2 < radius**2
    image = np.where(disc[..., None], (200, 150, 90), (40, 42, 45))
    image = image + rng.normal(0, 5, (size, size, 3))
    return np.clip(image, 0, 255).astype(np.uint8), disc


def noise_surface(seed=0, size=120):
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(120, 25, (size, size, 3)), 0, 255).astype(np.uint8)


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("size", [90, 256])
def test_a_disc_on_a_table_is_found(size):
    image, disc = disc_on_table(size, size // 4)
    assert overlap(foreground(image), disc) > 0.93


def test_a_dark_part_of_the_product_belongs_to_it_when_it_touches_a_bright_part():
    image, disc = disc_on_table()
    dark = disc.copy()
    dark[:60] = False
    image[dark] = (75, 40, 40)
    assert overlap(foreground(image), disc) > 0.93


def test_holes_in_the_product_are_filled_and_specks_on_the_table_are_ignored():
    image, _ = disc_on_table()
    image[55:65, 55:65] = (40, 42, 45)
    image[5:7, 20:22] = (255, 255, 255)
    found = foreground(image)
    assert found[55:65, 55:65].all()
    assert not found[:15, 15:30].any()


@pytest.mark.parametrize(
    "image",
    [noise_surface(), np.full((64, 64, 3), 90, np.uint8), disc_on_table(radius=4)[0]],
    ids=["noise", "flat", "too small"],
)
def test_the_full_frame_is_returned_when_no_product_stands_out(image):
    assert foreground(image).all()


def test_a_product_is_found_at_the_photos_own_size_and_aspect():
    image = np.full((300, 150, 3), 20, np.uint8)
    image[80:220, 40:110] = 220
    found = foreground(image)
    expected = np.zeros((300, 150), np.bool_)
    expected[80:220, 40:110] = True
    assert found.shape == (300, 150)
    assert overlap(found, expected) > 0.93


def test_a_float_image_is_refused():
    with pytest.raises(ImageError):
        foreground(np.zeros((32, 32, 3), np.float32))


def test_discs_are_objects_and_surfaces_are_textures():
    assert product_kind([disc_on_table(seed=seed)[0] for seed in range(4)]) == "object"
    assert product_kind([noise_surface(seed) for seed in range(4)]) == "texture"


def test_the_factory_makes_one_texture_and_one_object():
    def photos(product):
        return [draw_good(product, 128, np.random.default_rng(seed)) for seed in range(6)]

    assert product_kind(photos("fabric")) == "texture"
    assert product_kind(photos("nut")) == "object"


def test_no_photos_have_no_kind():
    with pytest.raises(DatasetError):
        product_kind([])


def test_otsu_separates_two_classes_as_well_as_the_best_of_all_thresholds():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(10, 2, 700), rng.normal(40, 5, 300)]).astype(np.float32)
    best = max(separation(values, values > level) for level in np.unique(values))
    assert separation(values, values > otsu(values)) == pytest.approx(best, rel=1e-3)


def test_separation_is_three_quarters_for_evenly_spread_values_and_one_for_two_points():
    even = np.linspace(0, 1, 10_001).astype(np.float32)
    assert separation(even, even > 0.5) == pytest.approx(0.75, abs=1e-3)
    two = np.array([1, 1, 5], np.float32)
    assert separation(two, two > 2) == pytest.approx(1)


def test_separation_into_everything_and_nothing_is_zero():
    values = np.arange(5, dtype=np.float32)
    assert separation(values, values > 9) == 0
    assert separation(values, values > -1) == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (64, 64)])
def test_a_random_region_is_never_empty(size):
    for seed in range(50):
        region = random_region(*size, np.random.default_rng(seed))
        assert region.shape == size
        assert region.any()


def test_random_regions_are_parts_and_together_reach_every_pixel():
    regions = np.stack([random_region(40, 40, np.random.default_rng(s)) for s in range(1000)])
    assert regions.any(axis=0).all()
    assert not regions[:, 20, 20].all()
