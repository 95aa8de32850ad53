import numpy as np
import pytest

from blemish.errors import ImageError
from blemish.synthesis.styles import FAMILIES, draw_mask, draw_style, draw_surface, paint
from blemish.synthesis.styles.painting import MARGIN


def scene(seed, name, size=64):
    rng = np.random.default_rng([seed, *name.encode()])
    style = draw_style(rng, name)
    return draw_surface(rng, size), draw_mask(rng, style, size), style, rng


@pytest.mark.parametrize("name", FAMILIES)
def test_outside_the_mask_the_photo_is_as_it_was_bit_for_bit(name):
    for seed in range(4):
        surface, mask, style, rng = scene(seed, name)
        before = surface.copy()
        painted = paint(rng, surface, mask, style)
        assert painted.dtype == np.uint8
        np.testing.assert_array_equal(painted[~mask], surface[~mask])
        np.testing.assert_array_equal(surface, before)


@pytest.mark.parametrize("name", FAMILIES)
def test_inside_the_mask_most_pixels_change_visibly(name):
    for seed in range(6):
        surface, mask, style, rng = scene(seed, name)
        painted = paint(rng, surface, mask, style)
        change = np.abs(painted[mask].astype(int) - surface[mask]).max(axis=1)
        # The style promises this to half of the pixels, before noise and rounding.
        assert np.median(change) >= 255 * style.contrast - 3


@pytest.mark.parametrize("name", FAMILIES)
def test_a_grey_photo_stays_grey(name):
    surface, mask, style, rng = scene(0, name)
    grey = np.repeat(surface[..., :1], 3, axis=2)
    painted = paint(rng, grey, mask, style)
    np.testing.assert_array_equal(painted, np.repeat(painted[..., :1], 3, axis=2))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", ["pixel", "corner", "column", "everything"])
def test_any_mask_can_be_painted(name, kind):
    surface, _, style, rng = scene(1, name, 40)
    mask = np.zeros((40, 40), np.bool_)
    mask[{"pixel": (20, 20), "corner": (0, 0), "column": np.s_[:, 39], "everything": ...}[kind]] = True
    painted = paint(rng, surface, mask, style)
    np.testing.assert_array_equal(painted[~mask], surface[~mask])
    assert (painted[mask] != surface[mask]).any()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_painting_is_a_pure_function_of_its_stream(name):
    surface, mask, style, _ = scene(2, name)
    one, two = (paint(np.random.default_rng(7), surface, mask, style) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_defect_does_not_depend_on_what_is_far_away(name):
    rng = np.random.default_rng(0)
    surface, style = draw_surface(rng, 90), draw_style(rng, name)
    mask = np.zeros((90, 90), np.bool_)
    mask[30:50, 35:60] = True
    near = np.s_[30 - MARGIN : 50 + MARGIN, 35 - MARGIN : 60 + MARGIN]
    whole = paint(np.random.default_rng(1), surface, mask, style)
    part = paint(np.random.default_rng(1), surface[near], mask[near], style)
    if (surface == surface[..., :1]).all() == (surface[near] == surface[near][..., :1]).all():
        np.testing.assert_array_equal(whole[near], part)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_defect_depends_on_the_surface_it_is_on(name):
    style = draw_style(np.random.default_rng(3), name)
    mask = np.zeros((48, 48), np.bool_)
    mask[14:34, 14:34] = True
    steps = np.repeat(np.linspace(70, 150, 12).astype(np.uint8), 4)
    along = np.repeat(np.broadcast_to(steps, (48, 48))[..., np.newaxis], 3, axis=2)
    one = paint(np.random.default_rng(0), along, mask, style)
    two = paint(np.random.default_rng(0), along.transpose(1, 0, 2), mask, style)
    assert (one[mask] != two[mask]).mean() > 0.05


def test_two_examples_of_one_type_are_more_alike_than_two_types():
    surface = np.full((64, 64, 3), 128, np.uint8)
    mask = np.zeros((64, 64), np.bool_)
    mask[16:48, 16:48] = True

    def look(style, seed):
        painted = paint(np.random.default_rng(seed), surface, mask, style)[mask].astype(float)
        return np.concatenate([painted.mean(axis=0), painted.std(axis=0)])

    types = [draw_style(np.random.default_rng(index), name) for index, name in enumerate(FAMILIES)]
    first, second = (np.array([look(style, seed) for style in types]) for seed in (0, 1))
    within = np.linalg.norm(first - second, axis=1)
    between = np.linalg.norm(first[:, np.newaxis] - second, axis=2)
    assert np.median(within) < 0.25 * np.median(between)


def test_an_empty_mask_changes_nothing():
    surface, _, style, rng = scene(4, "rust", 32)
    painted = paint(rng, surface, np.zeros((32, 32), np.bool_), style)
    np.testing.assert_array_equal(painted, surface)
    assert painted is not surface


def test_what_is_no_photo_or_no_mask_is_refused():
    surface, mask, style, rng = scene(5, "dent", 32)
    with pytest.raises(ImageError, match="uint8 RGB"):
        paint(rng, surface.astype(np.float32), mask, style)
    with pytest.raises(ImageError, match="pixels"):
        paint(rng, surface, mask[:16], style)
    with pytest.raises(ImageError, match="bool mask"):
        paint(rng, surface, mask.astype(np.uint8), style)
