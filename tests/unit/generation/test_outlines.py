import numpy as np
import pytest
from scipy import ndimage

from blemish.generation.habits import Habit
from blemish.generation.masks import EDGE, Template
from blemish.generation.outlines import ALIKE, RIM, filled, outline_places, outwards, with_rim
from blemish.generation.placement import place
from blemish.generation.warps import STILL

FREE = Habit(1.0, np.full(2, 0.02))


def box(shape, top, left, height, width):
    mask = np.zeros(shape, np.bool_)
    mask[top : top + height, left : left + width] = True
    return mask


PLATE = box((120, 120), 20, 30, 60, 70)
NOTCH = box((120, 120), 45, 90, 14, 10)
"""A piece out of the middle of the plate's right side."""
CORNER = box((120, 120), 66, 86, 14, 14)
SIDE = Template(NOTCH, PLATE & ~NOTCH)
OTHER = box((160, 140), 50, 20, 80, 90)


def test_a_piece_out_of_a_side_goes_to_that_side_of_another_product():
    places = outline_places(SIDE, np.eye(2), OTHER)
    push = EDGE * 80
    # The mask's centre lies 4.5 pixels before the last column of the product, and is pushed outwards.
    assert np.abs(places[:, 1] - (109 - 4.5 + push)).max() < 2
    assert places[:, 0].min() < 65
    assert places[:, 0].max() > 115


@pytest.mark.parametrize(
    ("turn", "axis", "edge", "away"),
    [
        (((-1, 0), (0, -1)), 1, 20, 1),  # half a turn: the left side
        (((0, 1), (1, 0)), 0, 129, -1),  # rows and columns swapped: the lower side
    ],
)
def test_turned_it_goes_to_the_side_that_it_then_fits(turn, axis, edge, away):
    places = outline_places(SIDE, np.array(turn, float), OTHER)
    assert np.abs(places[:, axis] - (edge + away * (4.5 - EDGE * 80))).max() < 2


def test_a_piece_out_of_a_corner_goes_to_that_corner():
    places = outline_places(Template(CORNER, PLATE & ~CORNER), np.eye(2), OTHER)
    push = EDGE * 80 / 2**0.5
    assert np.abs(places - (129 - 6.5 + push, 109 - 6.5 + push)).max() < 3


def test_the_places_are_those_of_brute_force_to_a_pixel():
    around = np.argwhere(ndimage.binary_dilation(NOTCH, iterations=3))
    inside = (PLATE | NOTCH)[tuple(around.T)]

    def agreement(spot):
        there = np.rint(spot + around - SIDE.centre).astype(int)
        return (OTHER[tuple(there.T)] == inside).mean()

    spots = np.argwhere(np.ones((60, 50))) + np.array([60, 80])
    values = np.array([agreement(spot) for spot in spots])
    expected = spots[values >= values.max() - ALIKE]
    found = outline_places(SIDE, np.eye(2), OTHER) - (0, EDGE * 80)
    apart = np.linalg.norm(found[:, None] - expected[None], axis=-1)
    assert apart.min(0).max() < 2
    assert apart.min(1).max() < 2


def test_of_nothing_there_is_no_outline():
    assert outline_places(SIDE, np.eye(2), np.zeros((50, 60), np.bool_)).shape == (0, 2)
    assert not with_rim(np.zeros((50, 60), np.bool_)).any()
    assert outwards(np.ones((3, 2)), np.ones(3, np.bool_)).tolist() == [0, 0]


def test_a_rim_lies_outside_and_leaves_holes_alone():
    ring = OTHER & ~box(OTHER.shape, 80, 50, 20, 20)
    steps = round(RIM * 80)
    rim = with_rim(ring) & ~ring
    assert steps == 3
    np.testing.assert_array_equal(rim | OTHER, ndimage.binary_dilation(OTHER, np.ones((3, 3)), steps))
    assert not (rim & OTHER).any()
    np.testing.assert_array_equal(filled(ring), OTHER)


def test_only_where_a_piece_is_gone_does_a_mask_reach_beyond_the_product():
    scratched = Template(NOTCH, PLATE)
    assert SIDE.gone
    assert not scratched.gone
    for seed in range(10):
        for template in (SIDE, scratched):
            rng = np.random.default_rng(seed)
            found = place(template, OTHER, FREE, np.ones(2), STILL, rng)
            assert not found.relaxed
            assert bool((found.mask & ~OTHER).any()) == template.gone
            # What lies outwards of the mask is no product any more.
            row, column = np.argwhere(found.mask).max(0)
            assert not OTHER[int(found.place[0]), column + 1 :].any(), (row, column)


def test_a_type_that_keeps_to_places_keeps_to_them_along_the_outline():
    bound = Habit(0.005, np.full(2, 0.02))
    rows = [
        place(SIDE, OTHER, bound, np.ones(2), STILL, np.random.default_rng(seed)).place[0]
        for seed in range(20)
    ]
    expected = 50 + (SIDE.centre[0] - 20) / 59 * 79
    assert np.abs(np.array(rows) - expected).max() < 8
    free = [
        place(SIDE, OTHER, FREE, np.ones(2), STILL, np.random.default_rng(seed)).place[0]
        for seed in range(20)
    ]
    assert np.ptp(free) > 30
