import numpy as np
import pytest

from blemish.synthesis.styles import draw_surface
from blemish.synthesis.styles.surfaces import MATERIALS, outline


def test_a_surface_is_a_pure_function_of_its_stream():
    for seed in range(5):
        one, two = (draw_surface(np.random.default_rng(seed), 48) for _ in range(2))
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("size", [16, 33, 128])
def test_a_surface_is_a_photo_of_any_size(size):
    for seed in range(12):
        photo = draw_surface(np.random.default_rng(seed), size)
        assert photo.shape == (size, size, 3)
        assert photo.dtype == np.uint8


def test_about_half_of_the_photos_are_grey():
    photos = [draw_surface(np.random.default_rng(seed), 24) for seed in range(200)]
    grey = [bool((photo == photo[..., :1]).all()) for photo in photos]
    assert 70 < sum(grey) < 130


def test_surfaces_differ_in_brightness_contrast_and_scale():
    photos = [
        draw_surface(np.random.default_rng(seed), 64)[..., 1].astype(float) for seed in range(120)
    ]
    means = [photo.mean() for photo in photos]
    contrasts = [photo.std() for photo in photos]
    fineness = [
        np.abs(np.diff(photo)).mean() / (photo.std() + 1) for photo in photos if photo.std() > 2
    ]
    assert np.std(means) > 25
    for values in (contrasts, fineness):
        low, high = np.percentile(values, (10, 90))
        assert high > 4 * low


@pytest.mark.parametrize("material", [made for made, _ in MATERIALS], ids=lambda made: made.__name__)
def test_a_material_is_a_finite_slab_of_single_precision(material):
    for seed in range(4):
        slab = material(40, np.random.default_rng(seed))
        assert slab.colour.shape == (40, 40, 3)
        assert slab.height.shape == (40, 40)
        for part in (slab.colour, slab.height):
            assert part.dtype == np.float32
            assert np.isfinite(part).all()
        assert 0 <= slab.gloss <= 1


def test_an_outline_grows_by_about_a_pixel_per_pixel():
    for seed in range(40):
        inside = outline(64, np.random.default_rng(seed))
        across, down = np.gradient(inside)
        assert 0.6 < np.median(np.hypot(across, down)) < 1.8
