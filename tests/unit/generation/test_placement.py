import json

import numpy as np
import pytest
from scipy import ndimage

from blemish.data import write_png
from blemish.errors import DatasetError, ImageError
from blemish.generation.habits import Habit
from blemish.generation.masks import Template, bounds, largest_extent
from blemish.generation.placement import place, region_of_interest, suited
from blemish.generation.warps import STILL, Jitter
from blemish.randomness import numpy_generator
from handmade import box, disc

FREE = Habit(1.0, np.full(2, 0.02))
BOUND = Habit(0.005, np.full(2, 0.02))


def placed(template, product, known=FREE, jitter=STILL, seed=0, region=None):
    largest = largest_extent([template])
    return place(template, product, known, largest, jitter, np.random.default_rng(seed), region)


SURFACE = np.ones((80, 100), np.bool_)
SPOT = Template(disc((80, 100), 30, 40, 5), SURFACE)


@pytest.mark.parametrize("seed", range(30))
def test_a_mask_lies_on_the_product_and_is_never_empty(seed):
    product = disc((90, 120), 45, 50, 30)
    found = placed(SPOT, product, jitter=Jitter(turns=("mirror", "transpose")), seed=seed)
    assert found.mask.any()
    assert not (found.mask & ~product).any()
    assert found.overlap >= 0.7


def test_without_a_habit_every_place_of_the_product_is_reached():
    product = disc((90, 120), 45, 60, 40)
    masks = [placed(SPOT, product, seed=seed).mask for seed in range(150)]
    centres = np.array([np.argwhere(mask).mean(0) for mask in masks])
    quarters = (centres[:, 0] > 45).astype(int) * 2 + (centres[:, 1] > 60)
    assert np.bincount(quarters, minlength=4).min() > 20
    assert np.mean(masks, axis=0)[product].astype(bool).mean() > 0.8


def test_with_a_habit_a_mask_keeps_its_place_in_the_box_of_another_product():
    product = box((200, 150), 20, 30, 160, 100)
    share = SPOT.centre / (79, 99)
    for seed in range(10):
        centre = np.argwhere(placed(SPOT, product, BOUND, seed=seed).mask).mean(0)
        np.testing.assert_allclose((centre - (20, 30)) / (159, 99), share, atol=0.09)


def test_a_turned_mask_takes_its_place_with_it():
    for seed in range(12):
        found = placed(SPOT, SURFACE, BOUND, Jitter(rotation=0, turns=("half_turn",)), seed)
        centre = np.argwhere(found.mask).mean(0)
        expected = SPOT.centre if found.change.turn is None else (79, 99) - SPOT.centre
        np.testing.assert_allclose(centre, expected, atol=8)


@pytest.mark.parametrize("seed", range(10))
def test_a_mask_that_a_side_cut_off_lies_at_that_side_again(seed):
    crack = Template(box((80, 100), 0, 30, 25, 3), SURFACE)
    found = placed(crack, np.ones((120, 60), np.bool_), jitter=Jitter(), seed=seed)
    assert found.mask[0].any()
    assert not found.mask[-1].any()
    assert 18 <= np.ptp(np.nonzero(found.mask)[0]) + 1 <= 36


def test_a_mask_from_side_to_side_reaches_both_sides_of_a_longer_photo():
    band = Template(box((80, 100), 40, 0, 8, 100), SURFACE)
    found = placed(band, np.ones((90, 150), np.bool_), jitter=Jitter(), seed=1)
    assert found.mask[:, 0].any()
    assert found.mask[:, -1].any()
    assert ndimage.label(found.mask)[1] == 1


def test_a_mask_from_side_to_side_goes_on_photos_of_similar_length():
    band = Template(box((80, 100), 40, 0, 8, 100), SURFACE)
    assert suited(band, [(500, 110), (80, 300), (40, 70)]) == [0, 2]
    assert suited(band, [(80, 300)]) == [0]
    assert suited(SPOT, [(500, 110), (80, 300)]) == [0, 1]


@pytest.mark.parametrize("seed", range(10))
def test_a_bite_out_of_the_edge_is_a_bite_out_of_the_edge_again(seed):
    product = disc((100, 100), 50, 50, 35)
    bite = Template(box((100, 100), 15, 45, 14, 10), product)
    other = disc((100, 130), 52, 60, 38)
    found = placed(bite, other, jitter=Jitter(turns=("flip", "quarter_turn")), seed=seed)
    outside = ~other
    assert (ndimage.binary_dilation(found.mask) & outside).any()
    assert not found.relaxed


def test_a_mask_never_covers_more_of_a_product_than_the_largest_real_one_scaled():
    wide = Template(box((80, 100), 30, 20, 10, 60), SURFACE)
    narrow = np.ones((80, 40), np.bool_)
    for seed in range(8):
        jitter = Jitter(rotation=0, bend=0, scale=(0.8, 1.3))
        first, last = bounds(placed(wide, narrow, jitter=jitter, seed=seed).mask)
        assert last[1] - first[1] <= 1.3 * 0.6 * 40 + 1


def test_a_small_mask_keeps_its_size_on_a_small_product():
    found = placed(SPOT, np.ones((60, 50), np.bool_), seed=2)
    assert found.mask.sum() == pytest.approx(SPOT.mask.sum(), rel=0.1)


def test_a_small_region_of_interest_is_kept_to_even_if_the_mask_must_shrink():
    region = box((80, 100), 60, 80, 6, 6)
    found = placed(SPOT, SURFACE, BOUND, seed=0, region=region)
    assert found.relaxed
    assert found.scale < 1
    assert found.mask.any()
    assert not (found.mask & ~region).any()


CUT_OFF = Template(box((80, 100), 0, 40, 12, 20), SURFACE)
"""A defect at the upper side of the frame."""


def strayed(template, seed, known=FREE, jitter=STILL):
    rng = np.random.default_rng(seed)
    return place(template, SURFACE, known, np.ones(2), jitter, rng, stray=True)


def test_a_stray_mask_goes_anywhere_as_it_is_whatever_its_type_keeps_to():
    found = [strayed(CUT_OFF, seed, BOUND) for seed in range(60)]
    places = np.array([one.place for one in found])
    assert np.ptp(places, 0).min() > 40
    whole = [one.mask for one in found if one.overlap == 1]
    assert len(whole) > 20
    sizes = np.array([np.ptp(np.argwhere(mask), axis=0) + 1 for mask in whole])
    assert np.abs(sizes - (12, 20)).max() <= 2, "a side that cut it off does not continue it"
    kept = [placed(CUT_OFF, SURFACE, BOUND, seed=seed) for seed in range(20)]
    assert all(one.mask[0].any() for one in kept), "at its side again where it does not stray"


def test_a_mask_at_the_edge_of_the_product_does_not_stray_from_it():
    round_one = disc((80, 100), 40, 50, 30)
    chip = Template(disc((80, 100), 40, 79, 6), round_one)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = place(chip, round_one, FREE, np.ones(2), STILL, rng, stray=True)
        assert ndimage.binary_dilation(~round_one)[found.mask].any()


@pytest.mark.parametrize("stray", [False, True])
def test_the_warp_that_is_told_leads_from_the_template_to_the_mask(stray):
    jitter = Jitter(rotation=20, bend=0.1, turns=("mirror", "quarter_turn"))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        found = place(SPOT, SURFACE, FREE, np.ones(2), jitter, rng, stray=stray)
        points = np.argwhere(found.mask).astype(float)
        came = np.rint(found.warp.backward(points)).astype(int)
        assert SPOT.mask[came[:, 0], came[:, 1]].mean() > 0.85


LARGE = disc((80, 100), 30, 40, 24) | box((80, 100), 50, 44, 7, 3)
SPANNING = box((80, 100), 40, 0, 8, 100)


@pytest.mark.parametrize("stray", [False, True])
@pytest.mark.parametrize("shape", [(80, 100), (70, 80), (120, 150)])
@pytest.mark.parametrize("mask", [LARGE, SPANNING, CUT_OFF.mask])
def test_a_rigid_mask_goes_from_pixels_to_pixels_whatever_the_photos_size(mask, shape, stray):
    jitter = Jitter(rotation=20, scale=(0.5, 2), bend=0.1, turns=("mirror", "half_turn"))
    template = Template(mask, SURFACE)
    for seed in range(10):
        rng, product = np.random.default_rng(seed), np.ones(shape, np.bool_)
        found = place(template, product, FREE, np.full(2, 0.3), jitter, rng, stray=stray, rigid=True)
        if found.relaxed:
            assert stray, "a mask that no side of the frame continues may not fit a smaller photo"
            continue
        assert found.scale == 1
        came = found.warp.backward(np.argwhere(found.mask).astype(float))
        np.testing.assert_allclose(came, np.rint(came), atol=1e-6)
        rows, columns = np.rint(came).astype(int).clip(0, (79, 99)).T
        assert mask[rows, columns].all()


@pytest.mark.parametrize("seed", range(20))
def test_a_mask_whose_centre_is_not_on_the_product_finds_a_place(seed):
    """All of a bent cable is discoloured: the centroid of its mask is where there is no cable."""
    cable = disc((256, 256), 128, 128, 100) & ~disc((256, 256), 128, 128, 84)
    cable[:, 150:] = False
    found = placed(Template(cable, cable), cable, jitter=Jitter(scale=(0.8, 1.25)), seed=seed)
    assert found.mask.any()
    assert not (found.mask & ~cable).any()


def test_an_empty_region_is_refused():
    with pytest.raises(DatasetError, match="fits nowhere on the region"):
        placed(SPOT, SURFACE, region=np.zeros_like(SURFACE))


def test_the_same_stream_gives_the_same_mask_and_another_index_another_one():
    def drawn(index):
        rng = numpy_generator(0, "mask", "dent", index)
        return place(SPOT, SURFACE, FREE, largest_extent([SPOT]), Jitter(), rng)

    np.testing.assert_array_equal(drawn(3).mask, drawn(3).mask)
    assert (drawn(3).mask != drawn(4).mask).any()
    assert json.loads(json.dumps(drawn(3).summary())) == drawn(3).summary()


def test_a_region_of_interest_is_a_polygon_or_a_mask(tmp_path):
    region = region_of_interest([(10, 5), (30, 5), (30, 25), (10, 25)], (40, 50))
    assert region[6:25, 11:30].all()
    assert region.sum() == 21 * 21
    write_png(tmp_path / "roi.png", region)
    np.testing.assert_array_equal(region_of_interest(tmp_path / "roi.png", (40, 50)), region)


def test_a_region_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="encloses nothing"):
        region_of_interest([(1, 1), (2, 2)], (40, 50))
    with pytest.raises(DatasetError, match="empty"):
        region_of_interest([(100, 100), (120, 100), (120, 120)], (40, 50))
    write_png(tmp_path / "roi.png", np.ones((9, 9), np.bool_))
    with pytest.raises(ImageError):
        region_of_interest(tmp_path / "roi.png", (40, 50))
