from __future__ import annotations

import numpy as np
import pytest

from blemish.detection.photos import View
from blemish.detection.symmetry import TURNS, symmetries, turned
from blemish.networks import LiteEncoder


@pytest.fixture(scope="module")
def encoder() -> LiteEncoder:
    found = LiteEncoder()
    found.load_imagenet()
    return found


def view() -> View:
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return View(image, image[..., 0] > 99, image[..., 1] > 150)


def test_the_turns_and_doing_nothing_are_the_eight_symmetries_of_the_square():
    plane = np.arange(16).reshape(4, 4)
    results = {name: turn(plane) for name, turn in TURNS.items()} | {"none": plane}
    assert len({result.tobytes() for result in map(np.ascontiguousarray, results.values())}) == 8
    for first in TURNS.values():
        for second in TURNS.values():
            both = second(first(plane))
            assert any(np.array_equal(both, result) for result in results.values())


def test_turns_of_a_small_plane_by_hand():
    plane = np.array([[1, 2], [3, 4]])
    expected = {
        "mirror": [[2, 1], [4, 3]],
        "flip": [[3, 4], [1, 2]],
        "half_turn": [[4, 3], [2, 1]],
        "quarter_turn": [[2, 4], [1, 3]],
        "three_quarter_turn": [[3, 1], [4, 2]],
        "transpose": [[1, 3], [2, 4]],
        "anti_transpose": [[4, 2], [3, 1]],
    }
    assert {name: turn(plane).tolist() for name, turn in TURNS.items()} == expected


def test_picture_padding_and_product_turn_together():
    before = view()
    for name, turn in TURNS.items():
        drawn = [turned(before, [name], np.random.default_rng(seed)) for seed in range(20)]
        after = next(v for v in drawn if not np.array_equal(v.image, before.image))
        np.testing.assert_array_equal(after.image, turn(before.image))
        np.testing.assert_array_equal(after.valid, turn(before.valid))
        np.testing.assert_array_equal(after.allowed, turn(before.allowed))


def test_without_allowed_turns_the_square_stays_as_it_is():
    before = view()
    assert turned(before, (), np.random.default_rng(0)) is before


def upright(seed: int) -> np.ndarray:
    """A bright bar above dark ground, as wide to the left as to the right, with some noise."""
    rng = np.random.default_rng(seed)
    image = np.full((64, 64, 3), 40, np.float64)
    image[8:20, 12:52] = 220
    return (image + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


def scattered(seed: int) -> np.ndarray:
    """Round spots anywhere: it has no up and no left."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:64, :64]
    image = np.full((64, 64, 3), 60, np.uint8)
    for row, column in rng.integers(6, 58, (12, 2)):
        image[(rows - row) ** 2 + (columns - column) ** 2 < 20] = 200
    return image


def test_a_part_that_always_lies_the_same_way_may_be_mirrored_and_not_turned(encoder):
    found = symmetries(np.stack([upright(seed) for seed in range(8)]), encoder)
    assert set(found) == {"mirror"}


def test_parts_that_lie_anyhow_may_be_turned_in_every_way(encoder):
    found = symmetries(np.stack([scattered(seed) for seed in range(12)]), encoder)
    assert set(found) == set(TURNS)


def test_two_photos_are_too_few_to_tell(encoder):
    assert symmetries(np.stack([upright(0), upright(1)]), encoder) == ()
