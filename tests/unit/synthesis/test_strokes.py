import numpy as np
import pytest
from scipy import ndimage

from blemish.synthesis.strokes import midpoint_displacement, stroke_mask


@pytest.mark.parametrize("size", [(256, 256), (64, 200), (31, 17)])
def test_a_stroke_mask_is_never_empty(size):
    for seed in range(150):
        mask = stroke_mask(*size, np.random.default_rng(seed))
        assert mask.shape == size
        assert mask.any()


def test_strokes_are_thin():
    for seed in range(40):
        mask = stroke_mask(256, 256, np.random.default_rng(seed))
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))
        # Crossing strokes and neighbouring pits may merge; a typical pixel lies near an edge.
        assert np.median(depth[depth > 0]) <= 2.3


def test_strokes_cover_little_of_the_photo():
    shares = [stroke_mask(256, 256, np.random.default_rng(seed)).mean() for seed in range(60)]
    assert max(shares) < 0.05


def test_displacing_by_nothing_gives_equally_spaced_points_on_the_straight_line():
    rng = np.random.default_rng(0)
    points = midpoint_displacement(np.array([0, 0]), np.array([8, 4]), 0.0, 2, rng)
    np.testing.assert_allclose(points, [[0, 0], [2, 1], [4, 2], [6, 3], [8, 4]])


def test_displacement_keeps_the_ends_and_moves_the_middle_sideways_only():
    rng = np.random.default_rng(0)
    points = midpoint_displacement(np.array([0, 0]), np.array([10, 0]), 0.3, 1, rng)
    np.testing.assert_allclose(points[[0, 2]], [[0, 0], [10, 0]])
    assert points[1, 0] == 5
    assert points[1, 1] != 0
