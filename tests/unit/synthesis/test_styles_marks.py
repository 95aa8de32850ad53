import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from blemish.synthesis.styles import FAMILIES, draw_mask, draw_style
from blemish.synthesis.styles.drawing import USUAL
from blemish.synthesis.styles.marks import SHAPES


def styles(shape, count):
    rng = np.random.default_rng(0)
    names = [name for name, family in FAMILIES.items() if shape in family.shapes]
    drawn = (draw_style(rng, names[index % len(names)]) for index in range(40 * count))
    return [style for style in drawn if style.shape == shape][:count]


def test_every_shape_belongs_to_some_family():
    assert {shape for family in FAMILIES.values() for shape in family.shapes} == set(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [16, 64, 101])
def test_a_mask_is_never_empty_and_covers_hardly_more_than_half(shape, size):
    for seed, style in enumerate(styles(shape, 12)):
        mask = draw_mask(np.random.default_rng(seed), style, size)
        assert mask.shape == (size, size)
        assert mask.dtype == np.bool_
        assert 0 < mask.mean() <= 0.55


@pytest.mark.parametrize("shape", ["blob", "bite", "strip", "polygon", "ring", "edge", "band", "wedge"])
def test_a_patch_has_the_area_that_its_style_asks_for(shape):
    for seed, style in enumerate(styles(shape, 8)):
        exact = dataclasses.replace(style, area=(0.1, 0.1))
        mask = draw_mask(np.random.default_rng(seed), exact, 96)
        # Pixels that tie with the last one are taken too.
        assert 0 <= np.count_nonzero(mask) - round(0.1 * 96 * 96) <= 8


def test_masks_of_one_style_lie_elsewhere_and_are_alike_in_size():
    style = draw_style(np.random.default_rng(3), "dent")
    masks = [draw_mask(np.random.default_rng(seed), style, 96) for seed in range(20)]
    middles = np.array([ndimage.center_of_mass(mask) for mask in masks])
    assert np.all(middles.std(axis=0) > 10)
    areas = [mask.mean() for mask in masks]
    assert style.area[0] * 0.95 <= min(areas) <= max(areas) <= style.area[1] * 1.05


def test_lines_are_as_thick_as_their_style_says():
    for seed, style in enumerate(styles("curl", 6)):
        smooth = dataclasses.replace(style, thickness=5.0, ragged=0.0, area=(0.03, 0.03))
        mask = draw_mask(np.random.default_rng(seed), smooth, 128)
        depth = ndimage.distance_transform_edt(np.pad(mask, 3, mode="edge"))
        ridge = depth[(depth >= ndimage.maximum_filter(depth, 5)) & (depth > 0)]
        assert 2 <= np.median(ridge) <= 3.7


def test_a_style_is_a_pure_function_of_its_stream():
    assert draw_style(np.random.default_rng(5)) == draw_style(np.random.default_rng(5))
    assert draw_style(np.random.default_rng(5)) != draw_style(np.random.default_rng(6))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_style_keeps_to_the_ranges_of_its_family(name):
    family = FAMILIES[name]
    for seed in range(20):
        style = draw_style(np.random.default_rng(seed), name)
        assert style.family == name
        assert style.shape in family.shapes
        assert 0 < style.area[0] <= style.area[1] <= 0.5
        for dial, usual in USUAL.items():
            low, high = family.ranges.get(dial, usual)
            slack = 0.5 if dial == "count" else 1e-9
            assert low - slack <= getattr(style, dial) <= high + slack
        assert any(low - 1e-9 <= style.tone <= high + 1e-9 for low, high in family.tones)
        for level in (*style.colour, *style.second):
            assert 0 < level <= 1


def test_all_families_come_up():
    rng = np.random.default_rng(0)
    assert {draw_style(rng).family for _ in range(600)} == set(FAMILIES)
