import numpy as np
import pytest

from blemish.generation.habits import habit, lookup, size_spread
from blemish.generation.masks import Template

SHAPE = (80, 100)
WHOLE = np.ones(SHAPE, np.bool_)


def spots(places, radius=3, product=WHOLE):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return [
        Template((y - row) ** 2 + (x - column) ** 2 <= radius**2, product) for row, column in places
    ]


def anywhere(n, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform((5, 5), (75, 95), (n, 2))


def test_defects_in_one_corner_keep_to_it():
    places = np.array([12, 14]) + np.random.default_rng(0).normal(0, 3, (6, 2))
    known = habit(spots(places), (), np.random.default_rng(0))
    assert known.keeps
    assert (known.spread < 0.05).all()


def test_two_clusters_are_a_habit_as_well():
    rng = np.random.default_rng(1)
    places = np.concatenate([centre + rng.normal(0, 2, (4, 2)) for centre in ((12, 12), (68, 88))])
    assert habit(spots(places), (), rng).keeps


def test_defects_anywhere_are_rarely_taken_for_a_habit():
    kept = [
        habit(spots(anywhere(7, seed)), (), np.random.default_rng(seed)).keeps for seed in range(40)
    ]
    assert sum(kept) <= 6


def test_fewer_than_three_masks_prove_nothing():
    assert habit(spots([(12, 12), (12, 12)]), (), np.random.default_rng(0)).p_value == 1


def test_large_masks_are_central_by_need_and_not_by_habit():
    whole = habit(spots([(40, 50)] * 4, radius=55), (), np.random.default_rng(0))
    small = habit(spots([(40, 50)] * 4, radius=3), (), np.random.default_rng(0))
    assert whole.p_value > 0.5
    assert small.keeps


def test_lying_at_the_same_side_of_the_frame_is_not_counted_twice():
    """Cracks from the top edge, anywhere along it: the side says all, the place says nothing."""
    columns = np.linspace(8, 92, 8)
    masks = []
    for column in columns:
        mask = np.zeros(SHAPE, np.bool_)
        mask[:20, round(column) : round(column) + 2] = True
        masks.append(Template(mask, WHOLE))
    assert not habit(masks, (), np.random.default_rng(0)).keeps


def test_turned_products_hide_a_habit_only_from_who_does_not_turn_them_back():
    corners = [(8, 8), (8, 92), (72, 8), (72, 92), (9, 9), (71, 91)]
    masks = spots(corners)
    p_plain = habit(masks, (), np.random.default_rng(0)).p_value
    turns = ("mirror", "flip", "half_turn")
    p_turned = habit(masks, turns, np.random.default_rng(0)).p_value
    assert p_turned < p_plain
    assert p_turned <= 0.05


def test_the_same_stream_gives_the_same_answer():
    masks = spots(anywhere(5, 3))
    one, other = (habit(masks, (), np.random.default_rng(7)) for _ in range(2))
    assert one.p_value == other.p_value
    assert (1 + 199) * one.p_value == pytest.approx(round(200 * one.p_value))


def test_looking_up_points_outside_the_frame_finds_nothing():
    points = np.array([[0.0, 0.0], [-1, 4], [79.4, 99.4], [79.6, 3], [3, 100]])
    assert lookup(WHOLE, points).tolist() == [True, False, True, False, False]


def bars(lengths):
    masks = [np.zeros(SHAPE, np.bool_) for _ in lengths]
    for mask, length in zip(masks, lengths, strict=True):
        mask[40:43, 5 : 5 + length] = True
    return [Template(mask, WHOLE) for mask in masks]


def test_sizes_scatter_as_those_of_the_real_defects_by_scotts_rule():
    found = size_spread({"scratch": bars([10, 20, 40, 80]), "dent": bars([10, 10, 10])})
    logs = np.log([10, 20, 40, 80])
    assert found["scratch"] == pytest.approx(logs.std(ddof=1) * 4 ** (-1 / 5))
    assert found["dent"] == pytest.approx(np.log(1.2) / np.sqrt(3)), "never less than a fifth"


def test_a_type_of_one_or_two_masks_takes_the_scatter_within_the_others():
    types = {"a": bars([10, 20, 40]), "b": bars([5, 5, 5]), "few": bars([12, 70])}
    within = np.sqrt(2 * np.log(2) ** 2 / 4)
    assert size_spread(types)["few"] == pytest.approx(within * 2 ** (-1 / 5))
    assert size_spread({"few": bars([10, 80])})["few"] == pytest.approx(np.log(1.2) / np.sqrt(3))
