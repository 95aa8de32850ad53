import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from blemish.data.outlines import outline, parts


def drawn(rings, shape, fine=9):
    """The polygons filled by Pillow on a finer grid and read at the middle of each pixel."""
    found = np.zeros(shape, np.bool_)
    for ring in rings:
        canvas = Image.new("1", (shape[1] * fine, shape[0] * fine))
        corners = [(x * fine - 0.5, y * fine - 0.5) for x, y in ring]
        ImageDraw.Draw(canvas).polygon(corners, fill=1)
        found |= np.array(canvas)[fine // 2 :: fine, fine // 2 :: fine]
    return found


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def noise(seed, shape=(24, 31), level=0.5):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1)
    return smooth > np.quantile(smooth, level)


def area(ring):
    """The shoelace formula."""
    x, y = np.array(ring, float).T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def test_the_outline_of_a_rectangle_has_its_four_corners():
    mask = np.zeros((9, 12), np.bool_)
    mask[2:5, 3:10] = True
    (part,) = parts(mask)
    assert sorted(outline(part)) == [(3, 2), (3, 5), (10, 2), (10, 5)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("level", [0.3, 0.7])
def test_polygons_drawn_again_are_the_mask_with_its_holes_and_parts(seed, level):
    mask = noise(seed, level=level)
    rings = [outline(part) for part in parts(mask)]
    assert overlap(drawn(rings, mask.shape), mask) > 0.97
    assert sum(map(area, rings)) == mask.sum()


def test_a_ring_within_a_ring_within_a_frame_keeps_its_holes():
    mask = np.ones((40, 40), np.bool_)
    mask[4:36, 4:36] = False
    mask[8:32, 8:32] = True
    mask[12:28, 12:18] = False
    mask[12:28, 22:28] = False
    mask[15:20, 14:16] = True
    rings = [outline(part) for part in parts(mask)]
    assert len(rings) == 3
    assert overlap(drawn(rings, mask.shape), mask) > 0.97


def test_pixels_that_touch_at_a_corner_are_one_part_with_one_outline():
    mask = np.eye(6, dtype=np.bool_)
    (part,) = parts(mask)
    assert area(outline(part)) == 6
    assert overlap(drawn([outline(part)], mask.shape), mask) == 1


def test_every_small_mask_is_enclosed_exactly():
    """All 512 masks of 3 x 3 pixels, and the same around a hole."""
    for number in range(1, 512):
        core = np.array([number >> bit & 1 for bit in range(9)], np.bool_).reshape(3, 3)
        for mask in (np.pad(core, 1), np.pad(~core, 1, constant_values=True)):
            if mask.any():
                assert sum(area(outline(part)) for part in parts(mask)) == mask.sum()


def test_an_empty_mask_has_no_parts():
    assert parts(np.zeros((5, 5), np.bool_)) == []
