import numpy as np
import pytest

from blemish.synthesis.perlin import perlin, perlin_mask, random_frequency


def reference_perlin(height, width, frequency, rng):
    """Perlin noise one pixel and one corner at a time, straight from the definition."""
    last_row = int((height - 1) * frequency[0] / height)
    last_column = int((width - 1) * frequency[1] / width)
    angles = rng.uniform(0, 2 * np.pi, (last_row + 2, last_column + 2))
    noise = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            y, x = row * frequency[0] / height, column * frequency[1] / width
            top, left = int(y), int(x)
            for down in (0, 1):
                for right in (0, 1):
                    angle = angles[top + down, left + right]
                    offset_y, offset_x = y - top - down, x - left - right
                    slope = np.sin(angle) * offset_y + np.cos(angle) * offset_x
                    noise[row, column] += fade(abs(offset_y)) * fade(abs(offset_x)) * slope
    return np.sqrt(2) * noise


def fade(distance):
    return 1 - (6 * distance**5 - 15 * distance**4 + 10 * distance**3)


@pytest.mark.parametrize(
    ("size", "frequency"), [((24, 24), (4, 4)), ((17, 30), (3, 8)), ((5, 64), (1, 16))]
)
def test_perlin_equals_the_definition_evaluated_pixel_by_pixel(size, frequency):
    noise = perlin(*size, frequency, np.random.default_rng(3))
    expected = reference_perlin(*size, frequency, np.random.default_rng(3))
    np.testing.assert_allclose(noise, expected, atol=1e-5)


def test_perlin_is_zero_at_lattice_points_and_not_between_them():
    noise = perlin(64, 96, (4, 8), np.random.default_rng(0))
    assert np.all(noise[::16, ::12] == 0)
    assert np.all(noise[8::16, 6::12] != 0)


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (100, 63), (256, 256)])
@pytest.mark.parametrize("frequency", [(1, 1), (2, 32), (32, 32)])
def test_perlin_stays_within_minus_one_and_one_at_any_size(size, frequency):
    noise = perlin(*size, frequency, np.random.default_rng(1))
    assert noise.shape == size
    assert noise.dtype == np.float32
    assert np.abs(noise).max() <= 1


def test_perlin_reaches_one_where_four_gradients_point_at_the_middle_of_their_cell():
    class Inwards:
        def uniform(self, _low, _high, shape):
            assert shape == (2, 2)
            return np.array([[1, 3], [-1, -3]]) * np.pi / 4

    assert perlin(2, 2, (1, 1), Inwards())[1, 1] == pytest.approx(1)


def test_the_same_stream_draws_the_same_noise_and_another_stream_draws_another():
    one, same, other = (perlin(32, 32, (4, 4), np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_frequencies_are_the_six_powers_of_two_drawn_per_axis():
    rng = np.random.default_rng(0)
    drawn = {random_frequency(rng) for _ in range(2000)}
    powers = {1, 2, 4, 8, 16, 32}
    assert drawn == {(one, other) for one in powers for other in powers}


@pytest.mark.parametrize("size", [(64, 64), (50, 120)])
def test_the_corners_of_a_turned_mask_are_as_often_inside_as_its_middle(size):
    rng = np.random.default_rng(2)
    masks = np.stack([perlin_mask(*size, (8, 8), rng) for _ in range(1500)])
    middle = masks[:, size[0] // 2 - 4 : size[0] // 2 + 4, size[1] // 2 - 4 : size[1] // 2 + 4]
    for rows in (slice(None, 8), slice(-8, None)):
        for columns in (slice(None, 8), slice(-8, None)):
            assert masks[:, rows, columns].mean() == pytest.approx(middle.mean(), rel=0.25)


def test_a_mask_is_boolean_and_of_the_wanted_size():
    mask = perlin_mask(33, 70, (4, 16), np.random.default_rng(0))
    assert mask.shape == (33, 70)
    assert mask.dtype == np.bool_
