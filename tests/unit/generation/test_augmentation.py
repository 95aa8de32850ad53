from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from blemish.errors import ConfigError, ImageError
from blemish.generation.augmentation import Augmentation, augmented

CALM = Augmentation(mirror=False, flip=False, angle=0, shift=0)
SIZE = 32


def labelled(height: int, width: int) -> np.ndarray:
    """A photo each of whose pixels says where it is: red its row, green its column."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, np.full_like(rows, 7)], axis=2)


def of_pixels(height: int, width: int, pixels: list[tuple[int, int]]) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[tuple(np.transpose(pixels))] = True
    return mask


@st.composite
def defects(draw, longest: int = 96):
    """A mask of a few pixels or small rectangles anywhere in a photo of any shape."""
    height, width = draw(st.integers(6, longest)), draw(st.integers(6, longest))
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(1, 3))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(st.integers(1, 12)), left : left + draw(st.integers(1, 12))] = True
    return mask


hows = st.builds(
    Augmentation,
    mirror=st.booleans(),
    flip=st.booleans(),
    angle=st.sampled_from([0.0, 10.0, 45.0, 180.0]),
    shift=st.sampled_from([0.0, 0.05, 1.0]),
)


@settings(max_examples=100, deadline=None)
@given(mask=defects(), how=hows, seed=st.integers(0, 2**32))
def test_a_view_has_the_wanted_size_and_shows_a_defect_however_thin(mask, how, seed):
    image = np.zeros((*mask.shape, 3), np.uint8)
    view, seen = augmented(image, mask, SIZE, np.random.default_rng(seed), how)
    assert (view.shape, view.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert (seen.shape, seen.dtype) == ((SIZE, SIZE), np.bool_)
    assert seen.any()


@settings(max_examples=100, deadline=None)
@given(
    mask=st.tuples(st.integers(SIZE, 80), st.integers(SIZE, 80), st.data()),
    shift=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**32),
)
def test_every_pixel_of_a_defect_that_fits_is_in_frame_at_its_own_resolution(mask, shift, seed):
    height, width, data = mask
    top, left = data.draw(st.integers(0, height - SIZE)), data.draw(st.integers(0, width - SIZE))
    inside = st.tuples(st.integers(top, top + 22), st.integers(left, left + 22))
    pixels = data.draw(st.lists(inside, min_size=1, max_size=5))
    how = Augmentation(angle=0, shift=shift)
    rng = np.random.default_rng(seed)
    view, seen = augmented(labelled(height, width), of_pixels(height, width, pixels), SIZE, rng, how)
    assert {(row, column) for row, column, _ in view[seen].tolist()} == set(pixels)


@settings(max_examples=100, deadline=None)
@given(
    corner=st.tuples(st.integers(0, 74), st.integers(0, 74)),
    apart=st.tuples(st.integers(10, 30), st.integers(10, 30)),
    how=hows,
    seed=st.integers(0, 2**32),
)
def test_both_ends_of_a_defect_stay_in_frame(corner, apart, how, seed):
    mask = np.zeros((128, 128), bool)
    for end in (np.array(corner), np.array(corner) + apart):
        mask[end[0] : end[0] + 6, end[1] : end[1] + 6] = True
    image = np.zeros((128, 128, 3), np.uint8)
    _, seen = augmented(image, mask, SIZE, np.random.default_rng(seed), how)
    parts, count = ndimage.label(seen, np.ones((3, 3)))
    areas = ndimage.sum_labels(seen, parts, np.arange(1, count + 1))
    assert count >= 2
    # At worst a fifth of the 36 pixels is left; turning and shrinking cost some of the rim.
    assert np.sort(areas)[-2] >= 3


@pytest.mark.parametrize("angle", [0.0, 20.0, 45.0])
def test_mask_and_photo_move_together(angle):
    rng = np.random.default_rng(0)
    mask = np.zeros((70, 90), bool)
    mask[10:30, 50:75] = True
    image = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    for _ in range(10):
        view, seen = augmented(image, mask, SIZE, rng, Augmentation(angle=angle))
        bright = view[..., 0] > 127
        rim = ndimage.binary_dilation(seen) & ~ndimage.binary_erosion(seen)
        assert np.array_equal(bright[~rim], seen[~rim])


def test_a_photo_of_the_right_size_comes_back_as_it_is():
    image, mask = labelled(SIZE, SIZE), of_pixels(SIZE, SIZE, [(3, 5), (20, 11)])
    view, seen = augmented(image, mask, SIZE, np.random.default_rng(0), CALM)
    assert np.array_equal(view, image)
    assert np.array_equal(seen, mask)


def test_mirrored_views_are_mirror_images():
    image, mask = labelled(SIZE, SIZE), of_pixels(SIZE, SIZE, [(3, 5)])
    how = Augmentation(mirror=True, flip=False, angle=0, shift=0)
    seen = {augmented(image, mask, SIZE, np.random.default_rng(i), how)[0].tobytes() for i in range(9)}
    assert seen == {image.tobytes(), np.ascontiguousarray(image[:, ::-1]).tobytes()}


class Largest:
    """A stream whose every draw is the largest it may be."""

    def random(self, count: int) -> np.ndarray:
        return np.ones(count)

    def uniform(self, _: float, high: float) -> float:
        return high


def test_a_quarter_turn_is_exact():
    image, mask = labelled(SIZE, SIZE), of_pixels(SIZE, SIZE, [(3, 5), (20, 11)])
    view, seen = augmented(image, mask, SIZE, Largest(), Augmentation(angle=90, shift=0))
    k = 1 if np.array_equal(view, np.rot90(image)) else 3
    assert np.array_equal(view, np.rot90(image, k))
    assert np.array_equal(seen, np.rot90(mask, k))


def crops_like(view: np.ndarray, around: np.ndarray) -> list[tuple[int, int]]:
    """Return the (top, left) of each crop of a picture that equals the view."""
    tops, lefts = (range(around.shape[axis] - SIZE + 1) for axis in (0, 1))
    return [
        (top, left)
        for top in tops
        for left in lefts
        if np.array_equal(view, around[top : top + SIZE, left : left + SIZE])
    ]


def test_beyond_its_edge_the_photo_and_its_defect_are_mirrored():
    image, mask = labelled(SIZE, SIZE), of_pixels(SIZE, SIZE, [(3, 5), (6, 9)])
    how = Augmentation(mirror=False, flip=False, angle=0, shift=1)
    around = np.pad(image, ((SIZE, SIZE), (SIZE, SIZE), (0, 0)), mode="reflect")
    defects = np.pad(mask, SIZE, mode="reflect")
    reached = set()
    for seed in range(12):
        view, seen = augmented(image, mask, SIZE, np.random.default_rng(seed), how)
        ((top, left),) = crops_like(view, around)
        assert np.array_equal(seen, defects[top : top + SIZE, left : left + SIZE])
        reached.add((top, left))
    assert len(reached) == 12


def test_a_large_defect_is_seen_whole_and_smaller_than_life():
    mask = np.zeros((200, 200), bool)
    mask[50:150, 40:160] = True
    _, seen = augmented(np.zeros((200, 200, 3), np.uint8), mask, SIZE, np.random.default_rng(0), CALM)
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    assert np.ptp(rows) + 1 < np.ptp(columns) + 1 < SIZE
    side = np.ptp(columns) + 1
    assert side / (np.ptp(rows) + 1) == pytest.approx(120 / 100, abs=2 / 20)


def test_a_small_photo_is_mirrored_rather_than_enlarged():
    image, mask = labelled(20, 16), of_pixels(20, 16, [(8, 8)])
    around = np.pad(image, ((SIZE, SIZE), (SIZE, SIZE), (0, 0)), mode="reflect")
    view, seen = augmented(image, mask, SIZE, np.random.default_rng(0), CALM)
    assert len(crops_like(view, around)) == 1
    assert {tuple(pixel) for pixel in view[seen][:, :2].tolist()} == {(8, 8)}
    assert seen.sum() > 1


def test_the_same_stream_gives_the_same_view():
    image, mask = labelled(70, 90), of_pixels(70, 90, [(30, 40)])
    pairs = [augmented(image, mask, SIZE, np.random.default_rng(5)) for _ in range(2)]
    assert np.array_equal(pairs[0][0], pairs[1][0])
    assert np.array_equal(pairs[0][1], pairs[1][1])


@pytest.mark.parametrize("mask", [np.zeros((9, 9), bool), np.ones((9, 8), bool)])
def test_without_a_defect_of_its_own_a_photo_cannot_be_learned_from(mask):
    with pytest.raises(ImageError, match="the mask of its defect"):
        augmented(labelled(9, 9), mask, SIZE, np.random.default_rng(0))


def test_an_impossible_rotation_is_refused():
    with pytest.raises(ConfigError, match="-3"):
        Augmentation(angle=-3)
