import numpy as np
import pytest
from scipy import ndimage

from blemish.generation.habits import Habit
from blemish.generation.masks import EDGE, Template, filled
from blemish.generation.outlines import ALIKE, RIM, just_beyond, outline_places, outwards
from blemish.generation.placement import place
from blemish.generation.warps import STILL, Jitter
from handmade import box, disc

FREE = Habit(1.0, np.full(2, 0.02))


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
    assert not just_beyond(np.zeros((50, 60), np.bool_)).any()
    assert outwards(np.ones((3, 2)), np.ones(3, np.bool_)).tolist() == [0, 0]


def test_a_rim_lies_outside_and_leaves_holes_alone():
    ring = OTHER & ~box(OTHER.shape, 80, 50, 20, 20)
    steps = round(RIM * 80)
    rim = just_beyond(filled(ring))
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
            beyond = OTHER[int(found.place[0]), np.argwhere(found.mask)[:, 1].max() + 1 :]
            assert beyond.sum() <= (0 if template.gone else 2)


@pytest.mark.parametrize("depth", [3, 6, 12])
def test_a_shallow_mask_on_the_product_stays_at_its_edge(depth):
    round_one = disc((160, 160), 80, 80, 60)
    rusty = Template(round_one & ~disc((160, 160), 80, 80 - depth, 60), round_one)
    assert rusty.at_edge
    assert not rusty.gone
    for seed in range(8):
        found = place(rusty, round_one, FREE, np.ones(2), Jitter(), np.random.default_rng(seed))
        assert not found.relaxed
        assert (ndimage.binary_dilation(found.mask, iterations=3) & ~round_one).any()


def test_a_side_of_the_frame_that_cuts_a_product_off_is_no_edge_of_it():
    bar = box((160, 140), 50, 20, 80, 120)  # as far as the right side of the frame
    lower = Template(box((120, 120), 70, 50, 10, 14), PLATE & ~box((120, 120), 70, 50, 10, 14))
    assert (outline_places(lower, np.eye(2), bar)[:, 0] > 120).all()
    rows = outline_places(SIDE, np.eye(2), bar)[:, 0]
    assert (np.minimum(abs(rows - 50), abs(rows - 129)) < 14).all()


def test_a_hole_in_a_product_that_fills_the_frame_is_no_edge_of_it():
    whole = np.ones((160, 140), np.bool_)
    whole[70:75, 60:65] = False
    places = [
        place(SIDE, whole, FREE, np.ones(2), STILL, np.random.default_rng(seed)).place
        for seed in range(20)
    ]
    assert np.ptp(np.array(places), axis=0).min() > 40


def test_places_outside_of_the_region_are_not_tried():
    region = box(OTHER.shape, 80, 85, 30, 25)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        found = place(SIDE, OTHER, FREE, np.ones(2), STILL, rng, region)
        assert not found.relaxed
        assert not (found.mask & ~region).any()


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
