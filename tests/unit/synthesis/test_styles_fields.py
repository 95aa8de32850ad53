import numpy as np
import pytest
from scipy.spatial.distance import cdist

from blemish.synthesis.styles import fields
from blemish.synthesis.styles.relief import Lamp, bowl, glint, hollow, inner_depth, moved, shading

LAMP = Lamp(azimuth=0.7, elevation=0.8)

NOISES = {
    "fractal": lambda size, rng: fields.fractal(size, rng, 1.5),
    "bumps": lambda size, rng: fields.bumps(size, rng, 8),
    "grain": lambda size, rng: fields.grain(size, rng, 1.5),
    "streaks": lambda size, rng: fields.streaks(size, rng, 20, 1, 0.4),
}


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("size", [17, 64, 100])
def test_noise_is_single_precision_with_mean_0_and_deviation_1(name, size):
    field = NOISES[name](size, np.random.default_rng(0))
    assert field.shape == (size, size)
    assert field.dtype == np.float32
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("scale", [5, 10, 20])
def test_most_of_the_power_of_bumps_lies_near_one_over_their_scale(scale):
    field = fields.bumps(160, np.random.default_rng(1), scale)
    power = np.abs(np.fft.fft2(field * np.hanning(160)[:, np.newaxis] * np.hanning(160))) ** 2
    axis = np.fft.fftfreq(160)
    radius = np.hypot(axis[:, np.newaxis], axis)
    near = (radius > 1 / scale / 1.9) & (radius < 1.9 / scale)
    assert power[near].sum() > 0.9 * power.sum()


def test_streaks_hardly_change_along_their_heading():
    field = fields.streaks(128, np.random.default_rng(2), 30, 1, 0.0)
    along = np.mean(field[:, 5:] * field[:, :-5])
    across = np.mean(field[5:] * field[:-5])
    assert along > 0.9
    assert abs(across) < 0.2


def test_lanes_do_not_change_along_their_heading_at_all():
    field = fields.lanes(40, np.random.default_rng(3), 2.0, 0.0)
    np.testing.assert_array_equal(field, np.broadcast_to(field[:, :1], field.shape))
    assert field[:, 0].std() > 0.3


def test_cells_without_disorder_are_squares_about_a_grid_of_seeds():
    found = fields.cells(60, np.random.default_rng(4), 10, disorder=0)
    assert found.first.max() <= 10 / np.sqrt(2) + 1e-3
    assert np.all(found.second >= 5 - 1e-3)
    assert np.all(found.first <= found.second)


def test_cells_know_the_two_nearest_of_all_seeds():
    found = fields.cells(40, np.random.default_rng(5), 8)
    y, x = np.mgrid[:40, :40]
    centres = [
        (y[found.number == n][at], x[found.number == n][at])
        for n in np.unique(found.number)
        if (inner := found.first[found.number == n]).min() < 0.8
        for at in [inner.argmin()]
    ]
    distance = cdist(np.stack([y.ravel(), x.ravel()], axis=1), np.array(centres)).min(axis=1)
    # Seeds are known to a pixel only, and those outside the window not at all.
    assert np.all(found.first.ravel() <= distance + 1)


def test_a_tone_belongs_to_a_whole_cell():
    found = fields.cells(40, np.random.default_rng(6), 9)
    tones = found.tones(np.random.default_rng(0))
    for number in np.unique(found.number):
        assert np.ptp(tones[found.number == number]) == 0


def test_a_flat_surface_keeps_its_light_and_has_no_glint():
    flat = np.full((9, 9), 3, np.float32)
    np.testing.assert_allclose(shading(flat, LAMP), 1, rtol=1e-6)
    np.testing.assert_allclose(glint(flat, LAMP), 0, atol=1e-6)


def test_a_slope_is_lit_by_the_cosine_of_its_angle_to_the_lamp():
    y, x = np.mgrid[:9, :9].astype(np.float32)
    normal = np.array([-0.3, 0.2, 1]) / np.sqrt(1.13)
    cosine = normal @ LAMP.towards / LAMP.towards[2]
    np.testing.assert_allclose(shading(0.3 * x - 0.2 * y, LAMP, 0.25), 0.25 + 0.75 * cosine, rtol=1e-5)


def test_depth_is_the_distance_to_the_nearest_pixel_outside():
    mask = np.random.default_rng(0).random((20, 26)) < 0.8
    mask[0], mask[-1], mask[:, 0], mask[:, -1] = False, False, False, False
    expected = np.zeros(mask.shape)
    expected[mask] = cdist(np.argwhere(mask), np.argwhere(~mask)).min(axis=1)
    np.testing.assert_allclose(inner_depth(mask), expected, rtol=1e-6)


def test_the_border_of_the_picture_is_no_rim():
    mask = np.zeros((20, 20), np.bool_)
    mask[:5] = True
    np.testing.assert_array_equal(inner_depth(mask)[:6, 10], [5, 4, 3, 2, 1, 0])
    assert inner_depth(np.ones((4, 6), np.bool_)).min() == 6


@pytest.mark.parametrize("profile", [bowl, hollow])
def test_profiles_rise_from_0_at_the_rim_to_1_at_their_width_and_stay(profile):
    values = profile(np.linspace(0, 10, 101, dtype=np.float32), 5)
    assert values[0] == 0
    assert np.all(np.diff(values) >= 0)
    np.testing.assert_array_equal(values[50:], 1)


def test_looking_whole_pixels_aside_shifts_the_picture():
    picture = np.random.default_rng(0).random((8, 10, 3), np.float32)
    still = np.zeros((8, 10), np.float32)
    np.testing.assert_allclose(moved(picture, still + 2, still - 1)[1:, :-2], picture[:-1, 2:])
    halfway = moved(picture, still + 0.5, still)[:, :-1]
    np.testing.assert_allclose(halfway, (picture[:, :-1] + picture[:, 1:]) / 2, atol=1e-6)
