import numpy as np
import pytest
from PIL import Image as Pillow

from blemish.synthesis.turning import turned_centre


def test_turning_by_nothing_crops_the_middle():
    array = np.arange(100, dtype=np.uint8).reshape(10, 10)
    turned = turned_centre(Pillow.fromarray(array), 0.0, 4, 6)
    np.testing.assert_array_equal(np.asarray(turned), array[2:8, 3:7])


@pytest.mark.parametrize(("quarters", "angle"), [(1, np.pi / 2), (2, np.pi), (3, -np.pi / 2)])
def test_turning_by_quarters_equals_rot90(quarters, angle):
    array = np.arange(81, dtype=np.float32).reshape(9, 9)
    turned = turned_centre(Pillow.fromarray(array), angle, 7, 7)
    np.testing.assert_allclose(np.asarray(turned), np.rot90(array, quarters)[1:-1, 1:-1], atol=1e-3)
