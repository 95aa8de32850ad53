from typing import get_args

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from blemish.config import Turn
from blemish.errors import ConfigError
from blemish.generation.masks import Template
from blemish.generation.warps import STILL, TURNS, Jitter, Warp, change, render, turned_side
from blemish.networks.symmetry import TURNS as PICTURE_TURNS

FLAT = np.zeros((2, 5, 5))


def scribble(shape=(50, 70), seed=0):
    """A mask with round and narrow parts that touches no side."""
    canvas = Image.new("1", (shape[1], shape[0]))
    pen = ImageDraw.Draw(canvas)
    rng = np.random.default_rng(seed)
    pen.line([tuple(p) for p in rng.uniform((8, 8), (60, 40), (5, 2)).tolist()], fill=1, width=3)
    pen.ellipse((20, 12, 33, 22), fill=1)
    return np.array(canvas)


def template_of(mask):
    return Template(mask, np.ones_like(mask))


def warp_of(template, linear, place=None, bend=FLAT):
    spot = template.centre if place is None else np.asarray(place, np.float64)
    return Warp(np.asarray(linear, np.float64), template.centre, template.reach, spot, bend)


@pytest.mark.parametrize("seed", range(5))
def test_a_mask_that_is_neither_moved_nor_changed_is_itself(seed):
    mask = scribble(seed=seed)
    template = template_of(mask)
    np.testing.assert_array_equal(render(template, warp_of(template, np.eye(2)), mask.shape), mask)


def test_a_mask_moved_by_whole_pixels_is_the_same_mask_elsewhere():
    mask = scribble()
    template = template_of(mask)
    warp = warp_of(template, np.eye(2), template.centre + np.array([7, -5]))
    np.testing.assert_array_equal(
        render(template, warp, mask.shape), ndimage.shift(mask.astype(int), (7, -5), order=0)
    )


@pytest.mark.parametrize("turn", get_args(Turn))
def test_each_turn_is_the_turn_of_the_picture(turn):
    mask = scribble((61, 61))
    expected = PICTURE_TURNS[turn](mask)
    template = template_of(mask)
    warp = warp_of(template, TURNS[turn], np.argwhere(expected).mean(0))
    np.testing.assert_array_equal(render(template, warp, expected.shape), expected)


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.7])
def test_the_area_grows_with_the_square_of_the_scale(scale):
    y, x = np.mgrid[:80, :80] - 40
    template = template_of(y**2 + 2 * x**2 < 24**2)
    drawn = render(template, warp_of(template, scale * np.eye(2)), (80, 80))
    assert drawn.sum() == pytest.approx(scale**2 * template.mask.sum(), rel=0.06)


@pytest.mark.parametrize("scale", [0.35, 0.6, 1.0, 1.3])
@pytest.mark.parametrize("angle", [0.0, 0.2, 0.7])
def test_a_line_one_pixel_wide_stays_thin_and_has_no_gap_to_speak_of(scale, angle):
    canvas = Image.new("1", (90, 90))
    ImageDraw.Draw(canvas).line([(22, 30), (50, 40), (65, 68)], fill=1)
    template = template_of(np.array(canvas))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    drawn = render(template, warp_of(template, scale * rotation, (45, 45)), (90, 90))
    assert ndimage.label(ndimage.binary_dilation(drawn), np.ones((3, 3)))[1] == 1
    assert ndimage.distance_transform_edt(drawn).max() <= 2


def test_the_smallest_mask_survives_the_smallest_scale():
    mask = np.zeros((20, 20), np.bool_)
    mask[9, 13] = True
    template = template_of(mask)
    for offset in np.linspace(0, 1, 7):
        warp = warp_of(template, 0.3 * np.eye(2), (8 + offset, 5 + offset / 3))
        assert render(template, warp, mask.shape).any()


def test_what_the_frame_cut_off_goes_on_beyond_it():
    mask = np.zeros((30, 30), np.bool_)
    mask[:10, 12:16] = True
    template = template_of(mask)
    moved = render(template, warp_of(template, np.eye(2), template.centre + np.array([8, 0])), (30, 30))
    expected = np.zeros_like(mask)
    expected[:18, 12:16] = True
    np.testing.assert_array_equal(moved, expected)


def test_the_window_does_not_cut_a_bent_mask():
    mask = scribble()
    template = template_of(mask)
    made = change(template, Jitter(bend=0.3), np.random.default_rng(3))
    warp = warp_of(template, np.eye(2), bend=made.bend)
    y, x = np.mgrid[:50, :70]
    source = warp.backward(np.stack([y, x], -1).reshape(-1, 2).astype(float))
    values = ndimage.map_coordinates(mask.astype(float), source.T, order=1).reshape(50, 70)
    drawn = render(template, warp, mask.shape)
    assert not ((values > 0.8) & ~drawn).any()
    assert not (drawn & ~ndimage.binary_dilation(values > 0.2)).any()
    assert (drawn ^ mask).any()


def test_a_still_jitter_changes_nothing_and_each_draw_stays_within_its_limits():
    template = template_of(scribble())
    still = change(template, STILL, np.random.default_rng(0))
    assert (still.turn, still.angle, still.scale) == (None, 0, 1)
    assert not still.bend.any()
    jitter = Jitter(rotation=20, scale=(0.5, 2), turns=("mirror", "flip"))
    drawn = [change(template, jitter, np.random.default_rng(seed)) for seed in range(60)]
    assert {one.turn for one in drawn} == {None, "mirror", "flip"}
    assert all(abs(one.angle) <= np.deg2rad(20) and 0.5 <= one.scale <= 2 for one in drawn)
    assert 15 < sum(one.scale < 1 for one in drawn) < 45


def test_a_side_turns_with_the_mask():
    assert turned_side((0, -1), np.eye(2)) == (0, -1)
    assert turned_side((1, -1), np.array(TURNS["mirror"])) == (1, 1)
    assert turned_side((0, -1), np.array(TURNS["quarter_turn"])) == (1, -1)


@pytest.mark.parametrize(
    "wrong", [{"rotation": -1}, {"scale": (0, 1)}, {"scale": (2, 1)}, {"bend": 1}, {"turns": ("spin",)}]
)
def test_a_jitter_outside_its_range_is_refused(wrong):
    with pytest.raises(ConfigError) as caught:
        Jitter(**wrong)
    assert caught.value.hint
