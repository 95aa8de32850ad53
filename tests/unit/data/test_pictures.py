from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

from blemish.data.pictures import (
    OUTLINE,
    PAPER,
    captioned,
    contact_sheet,
    heat_colours,
    outlined,
    overlay,
    thumbnail,
)
from blemish.errors import ImageError


def grey(height: int, width: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE luminance of sRGB colours (n, 3)."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_heat_colours_are_those_of_matplotlibs_inferno() -> None:
    values = np.linspace(0, 1, 256)[None]
    expected = mpl.colormaps["inferno"](values, bytes=True)[..., :3].astype(int)
    assert np.abs(heat_colours(values).astype(int) - expected).max() <= 7


def test_a_hotter_value_is_always_lighter() -> None:
    assert (np.diff(lightness(heat_colours(np.linspace(0, 1, 60)[None])[0])) > 0).all()


def test_values_beyond_the_scale_get_the_colour_of_its_end() -> None:
    ends = heat_colours(np.array([[-3.0, 0.0, 1.0, 7.0]]))[0]
    assert (ends[0] == ends[1]).all()
    assert (ends[2] == ends[3]).all()


def test_where_the_map_is_zero_the_photo_is_untouched() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    heat = np.zeros((9, 7), dtype=np.float32)
    heat[3, 3] = 1
    changed = (overlay(photo, heat) != photo).any(axis=2)
    assert changed[3, 3]
    assert changed.sum() == 1


def test_an_overlay_is_not_stretched_to_the_hottest_pixel() -> None:
    alone, beside = np.array([[0.2, 0.0]]), np.array([[0.2, 1.0]])
    assert (overlay(grey(1, 2), alone)[0, 0] == overlay(grey(1, 2), beside)[0, 0]).all()


def test_an_outline_surrounds_the_defect_and_leaves_it_in_view() -> None:
    mask = np.zeros((15, 15), dtype=bool)
    mask[7, 7] = True
    drawn = outlined(grey(15, 15), mask)
    line = (drawn == OUTLINE).all(axis=2)
    assert (drawn[6:9, 7] == 128).all()
    assert [int(line[7, x]) for x in range(4, 11)] == [0, 1, 0, 0, 0, 1, 0]


def test_an_empty_mask_has_no_outline() -> None:
    assert (outlined(grey(6, 6), np.zeros((6, 6), dtype=bool)) == 128).all()


@pytest.mark.parametrize(
    ("size", "expected"), [((400, 100), (192, 48)), ((100, 400), (48, 192)), ((1000, 1), (192, 1))]
)
def test_a_thumbnail_keeps_the_shape(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert thumbnail(grey(*size), 192).shape == (*expected, 3)


def test_a_small_photo_is_its_own_thumbnail() -> None:
    photo = grey(20, 30)
    assert thumbnail(photo, 192) is photo


def test_a_contact_sheet_shows_every_picture_pixel_for_pixel() -> None:
    rng = np.random.default_rng(1)
    first, second, third = (
        rng.integers(0, 200, size, dtype=np.uint8) for size in ((6, 8, 3), (4, 4, 3), (6, 8, 3))
    )
    sheet = contact_sheet([[first, second], [third]])
    assert (sheet[8:14, 8:16] == first).all()
    assert (sheet[9:13, 26:30] == second).all()
    assert (sheet[22:28, 8:16] == third).all()
    assert (sheet[22:28, 24:32] == PAPER).all()


def test_titles_stand_above_the_pictures() -> None:
    rows = [[grey(64, 96), grey(64, 96)]]
    plain, titled = contact_sheet(rows), contact_sheet(rows, ["photo", "heat"])
    added = titled.shape[0] - plain.shape[0]
    assert (titled[added:] == plain).all()
    halves = np.array_split(titled[:added], 2, axis=1)
    assert all(half.min() < 100 for half in halves)


@pytest.mark.parametrize(("rows", "titles"), [([], []), ([[]], []), ([[grey(2, 2)]], ["a", "b"])])
def test_a_sheet_without_pictures_or_with_other_titles_is_refused(rows: list, titles: list) -> None:
    with pytest.raises(ImageError, match="titles") as caught:
        contact_sheet(rows, titles)
    assert caught.value.hint


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ImageError, match="one size"):
        overlay(grey(4, 4), np.zeros((4, 5)))
    with pytest.raises(ImageError, match="one size"):
        outlined(grey(4, 4), np.zeros((5, 4), dtype=bool))


def test_a_caption_lies_below_the_photo_and_leaves_it_as_it_is() -> None:
    photo = grey(40, 90)
    drawn = captioned(photo, ["fill 0.9", "seam 1.2"])
    np.testing.assert_array_equal(drawn[:40], photo)
    strip = drawn[40:]
    assert (strip[0] == PAPER).all()
    assert (strip != PAPER).any()
    assert captioned(photo, []) is photo
