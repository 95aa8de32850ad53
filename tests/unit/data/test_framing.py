from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from blemish.data.framing import (
    as_tiled,
    blend_tiles,
    cut_tile,
    frame,
    letterbox,
    shrink_mask,
    tile_windows,
)
from blemish.errors import ConfigError, ImageError

SIDES = st.integers(1, 90)
few = settings(max_examples=60, deadline=None)


def waves(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width] + 0.5
    return (0.5 + 0.25 * np.sin(3 * rows / height) + 0.25 * np.cos(2 * columns / width)).astype(
        np.float32
    )


@few
@given(SIDES, SIDES, st.integers(1, 70))
def test_the_photo_lies_whole_and_centred_in_its_square(height, width, size):
    where = frame(height, width, size)
    valid = where.valid()
    assert valid.sum() == where.inner_height * where.inner_width
    assert max(where.inner_height, where.inner_width) == size
    below = size - where.top - where.inner_height
    right = size - where.left - where.inner_width
    assert 0 <= below - where.top <= 1
    assert 0 <= right - where.left <= 1


@few
@given(SIDES, SIDES, st.integers(8, 70))
def test_aspect_is_kept_to_half_a_pixel(height, width, size):
    where = frame(height, width, size)
    assert abs(where.inner_height - height * where.scale) <= 0.5 or where.inner_height == 1
    assert abs(where.inner_width - width * where.scale) <= 0.5 or where.inner_width == 1


@few
@given(SIDES, SIDES, st.integers(1, 70), st.integers(0, 255))
def test_a_photo_of_one_colour_fills_the_square_with_it(height, width, size, grey):
    square, _ = letterbox(np.full((height, width, 3), grey, np.uint8), size)
    np.testing.assert_array_equal(square, np.full((size, size, 3), grey))


def test_the_padding_repeats_the_edge_of_the_photo():
    photo = np.zeros((4, 8, 3), np.uint8)
    photo[0], photo[-1] = 50, 200
    square, where = letterbox(photo, 8)
    assert (where.top, where.inner_height) == (2, 4)
    np.testing.assert_array_equal(square[:, 0, 0], [50, 50, 50, 0, 0, 200, 200, 200])


def test_a_photo_of_the_squares_size_is_left_as_it_is():
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    square, where = letterbox(photo, 16)
    np.testing.assert_array_equal(square, photo)
    values = photo[..., 0].astype(np.float32)
    np.testing.assert_array_equal(where.restore(values), values)


@few
@given(SIDES, SIDES, st.integers(1, 70), st.floats(0, 1, width=32))
def test_a_constant_map_is_restored_as_that_constant(height, width, size, value):
    restored = frame(height, width, size).restore(np.full((size, size), value, np.float32))
    np.testing.assert_array_equal(restored, np.full((height, width), value, np.float32))


@few
@given(st.integers(40, 150), st.integers(40, 150))
def test_a_smooth_photo_survives_the_way_into_the_square_and_back(height, width):
    smooth = np.uint8(np.round(waves(height, width) * 255))
    square, where = letterbox(np.dstack([smooth] * 3), 64)
    restored = where.restore(square[..., 0].astype(np.float32))
    assert restored.shape == smooth.shape
    inner = np.float32(square[where.valid()].reshape(where.inner_height, where.inner_width, 3))
    # At the border there is no neighbour to interpolate with: at most one step of the grid is lost.
    step = max(np.abs(np.diff(inner, axis=axis)).max() for axis in (0, 1))
    assert np.abs(restored - smooth).max() <= step + 1


def test_padding_does_not_leak_into_a_restored_map():
    where = frame(10, 40, 32)
    values = np.where(where.valid(), 0.25, 1.0).astype(np.float32)
    np.testing.assert_array_equal(where.restore(values), np.full((10, 40), 0.25, np.float32))


@pytest.mark.parametrize("shape", [(20, 20_000), (20_000, 20), (1, 1)])
def test_photos_of_extreme_shape_go_in_and_come_back(shape):
    square, where = letterbox(np.full((*shape, 3), 9, np.uint8), 64)
    assert square.shape == (64, 64, 3)
    assert where.restore(np.zeros((64, 64), np.float32)).shape == shape


@few
@given(SIDES, SIDES, st.integers(1, 40), st.data())
def test_a_mask_with_a_defect_never_becomes_a_mask_without(height, width, size, data):
    mask = np.zeros((height, width), bool)
    assert not letterbox(mask, size)[0].any()
    row = data.draw(st.integers(0, height - 1))
    column = data.draw(st.integers(0, width - 1))
    mask[row, column] = True
    square, where = letterbox(mask, size)
    assert square.any()
    assert not (square & ~where.valid()).any()


@few
@given(SIDES, SIDES, st.integers(1, 40), st.data())
def test_a_mask_goes_on_in_the_padding_as_the_photo_does(height, width, size, data):
    grey = data.draw(arrays(np.uint8, (size, size)))
    where = frame(height, width, size)
    inner = np.ix_(*(np.flatnonzero(where.valid().any(axis)) for axis in (1, 0)))
    photo = np.dstack([grey[inner]] * 3)
    square, _ = letterbox(photo, size)
    mask = where.repeated(grey > 127)
    np.testing.assert_array_equal(mask, square[..., 0] > 127)


def test_a_cell_is_a_defect_from_half_its_area_on():
    mask = np.zeros((4, 6), bool)
    mask[:2, :2] = True
    mask[:2, 2] = True
    mask[0, 4] = True
    mask[2:, 0] = [True, False]
    expected = [[True, True, False], [False, False, False]]
    np.testing.assert_array_equal(shrink_mask(mask, 2, 3), expected)


def test_a_scratch_thinner_than_a_cell_stays_one_unbroken_line():
    mask = np.zeros((64, 64), bool)
    mask[30] = True
    shrunk = shrink_mask(mask, 8, 8)
    assert shrunk.sum(axis=1).tolist() == [0, 0, 0, 8, 0, 0, 0, 0]


@few
@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**32 - 1))
def test_the_covered_area_agrees_with_counting_on_a_common_grid(height, width, cells, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    fine = np.kron(mask, np.ones((cells, cells)))
    covered = fine.reshape(cells, height, cells, width).mean(axis=(1, 3))
    # Ties may fall either way in floating point; they are checked by hand above.
    clear = np.abs(covered - covered.max() / 2) > 1e-6
    expected = (covered >= covered.max() / 2) & (covered > 0)
    assert (shrink_mask(mask, cells, cells) == expected)[clear].all()


@few
@given(SIDES, SIDES, st.integers(1, 40), st.data())
def test_tiles_cover_every_pixel_and_overlap_as_asked(height, width, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    windows = tile_windows(height, width, size, overlap)
    seen = np.zeros((height, width), bool)
    for top, left in windows:
        assert 0 <= top <= max(0, height - size)
        assert 0 <= left <= max(0, width - size)
        seen[top : top + size, left : left + size] = True
    assert seen.all()
    assert len(set(windows)) == len(windows)
    for starts in ({top for top, _ in windows}, {left for _, left in windows}):
        steps = np.diff(sorted(starts))
        assert (steps <= size - overlap).all()
    assert windows[-1] == (max(0, height - size), max(0, width - size))


@few
@given(st.integers(1, 40), st.integers(1, 40), st.integers(6, 24), st.data())
def test_tiles_cut_from_a_photo_blend_back_into_it(height, width, size, data):
    overlap = data.draw(st.integers(0, size // 2))
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    windows = tile_windows(height, width, size, overlap)
    maps = [cut_tile(photo, window, size)[..., 1].astype(np.float32) for window in windows]
    blended = blend_tiles(maps, windows, height, width)
    np.testing.assert_allclose(blended, photo[..., 1], rtol=1e-5)


@few
@given(st.integers(1, 40), st.integers(1, 40), st.integers(6, 24), st.data())
def test_the_shares_of_the_tiles_sum_to_one_everywhere(height, width, size, data):
    windows = tile_windows(height, width, size, data.draw(st.integers(0, size // 2)))
    shares = np.zeros((height, width))
    for one in range(len(windows)):
        maps = [np.full((size, size), float(i == one), np.float32) for i in range(len(windows))]
        shares += blend_tiles(maps, windows, height, width)
    np.testing.assert_allclose(shares, 1, atol=1e-5)


def test_where_two_tiles_disagree_the_blend_has_no_seam():
    windows = tile_windows(32, 48, 32, 16)
    maps = [np.zeros((32, 32), np.float32), np.ones((32, 32), np.float32)]
    row = blend_tiles(maps, windows, 32, 48)[7]
    assert row[0] == 0
    assert row[-1] == 1
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() < 0.15
    hard = np.where(np.arange(48) < 24, 0, 1)
    assert np.diff(hard).max() == 1


def test_wrong_shapes_are_refused_with_a_hint():
    cases = [
        lambda: letterbox(np.zeros((4, 4, 3), np.float32), 8),
        lambda: letterbox(np.zeros((0, 4, 3), np.uint8), 8),
        lambda: frame(4, 4, 8).restore(np.zeros((4, 4), np.float32)),
        lambda: tile_windows(8, 8, 4, 4),
        lambda: blend_tiles([np.zeros((4, 4), np.float32)], [], 4, 4),
        lambda: blend_tiles([np.zeros((4, 4), np.float32)], [(0, 0)], 4, 8),
    ]
    for case in cases:
        with pytest.raises(ImageError) as caught:
            case()
        assert caught.value.hint


@few
@given(SIDES, SIDES, st.integers(1, 70))
def test_the_shorter_side_of_a_strip_is_that_of_a_tile_or_its_own(height, width, size):
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.bool_)
    mask[height // 2, width // 2] = True
    strip, thin = as_tiled(photo, "strips", size), as_tiled(mask, "strips", size)
    assert strip.shape[:2] == thin.shape
    assert min(thin.shape) == min(height, width, size)
    assert thin.any()
    scale = min(thin.shape) / min(height, width)
    assert max(thin.shape) == pytest.approx(max(height, width) * scale, abs=0.51)


def test_a_strip_looks_as_the_letterboxed_photo_does_and_tiles_look_at_the_photo_itself():
    photo = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    np.testing.assert_array_equal(as_tiled(photo, "strips", 64), letterbox(photo, 64)[0])
    assert as_tiled(photo, "tiles", 64) is photo
    assert as_tiled(photo, "strips", 128) is photo


def test_an_unknown_framing_is_no_framing():
    with pytest.raises(ConfigError, match="got auto"):
        as_tiled(np.zeros((40, 20), np.bool_), "auto", 8)


def test_what_is_neither_photo_nor_mask_cannot_be_shrunk():
    with pytest.raises(ImageError, match="cannot shrink float64"):
        as_tiled(np.zeros((40, 20)), "strips", 8)
