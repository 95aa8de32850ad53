from __future__ import annotations

import numpy as np
import pytest

from blemish.config import DataConfig, InspectorConfig, SynthesisConfig, parse
from blemish.data import as_tiled, write_sample
from blemish.detection.photos import (
    Kept,
    Photos,
    View,
    framed,
    settled,
    some_photos,
    some_squares,
    turned,
)
from blemish.errors import ConfigError
from blemish.networks.symmetry import TURNS
from blemish.records import Record
from blemish.verdicts import tiles


def letterboxed(kind: str = "texture") -> InspectorConfig:
    return parse({"data": {"size": 64}, "synthesis": {"kind": kind}})


def tiled(framing: str = "tiles") -> InspectorConfig:
    return parse({"data": {"size": 64, "framing": framing}, "synthesis": {"kind": "texture"}})


@pytest.fixture
def photo(tmp_path):
    def write(height: int, width: int) -> tuple[Record, np.ndarray]:
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return write_sample(tmp_path, "good", "a", image, split="train"), image

    return write


def test_a_letterboxed_photo_is_one_square_with_its_padding_marked(photo):
    record, _ = photo(32, 64)
    view = Photos([record], letterboxed()).view(0, np.random.default_rng(0))
    assert view.valid.sum() == 32 * 64
    assert not view.valid[:16].any()
    np.testing.assert_array_equal(view.allowed, view.valid)


def test_the_tiles_of_a_photo_reach_its_corners_at_its_own_resolution():
    windows = tiles(70, 150, tiled().data)
    assert len(windows) == len(set(windows)) == 2 * 3
    assert {(0, 0), (0, 86), (6, 0), (6, 86)} <= set(windows)


def test_a_random_tile_is_a_window_of_the_photo_chosen_by_the_stream(photo):
    record, image = photo(70, 150)
    photos = Photos([record], tiled())
    windows = {
        image[top : top + 64, left : left + 64].tobytes() for top in range(7) for left in range(87)
    }
    drawn = [photos.view(0, np.random.default_rng(seed)).image.tobytes() for seed in range(20)]
    assert set(drawn) <= windows
    assert len(set(drawn)) > 10
    assert drawn[3] == photos.view(0, np.random.default_rng(3)).image.tobytes()


def test_beyond_a_photo_smaller_than_its_tile_nothing_is_valid(photo):
    record, image = photo(40, 50)
    view = Photos([record], tiled()).view(0, np.random.default_rng(0))
    np.testing.assert_array_equal(view.image[:40, :50], image)
    expected = np.zeros((64, 64), np.bool_)
    expected[:40, :50] = True
    np.testing.assert_array_equal(view.valid, expected)
    np.testing.assert_array_equal(view.allowed & view.valid, expected)


def test_defects_may_lie_on_the_product_only_when_there_is_one(tmp_path):
    image = np.full((64, 64, 3), 230, np.uint8)
    image[20:44, 16:48] = (90, 60, 40)
    record = write_sample(tmp_path, "good", "a", image, split="train")
    view = Photos([record], letterboxed("object")).view(0, np.random.default_rng(0))
    product = np.zeros((64, 64), np.bool_)
    product[20:44, 16:48] = True
    assert (view.allowed & product).sum() / (view.allowed | product).sum() > 0.9


UNDECIDED = SynthesisConfig(kind="auto", monochrome="auto")


def test_a_nut_on_a_table_is_an_object_and_its_photos_have_colour(product):
    records = [Record(path) for path in sorted((product / "train" / "good").iterdir())]
    found = settled(UNDECIDED, some_photos(records))
    assert (found.kind, found.monochrome) == ("object", False)


def test_photos_without_colour_are_found_to_be_grey(tmp_path):
    records = []
    for index in range(4):
        grey = np.random.default_rng(index).integers(0, 256, (64, 64, 1), dtype=np.uint8)
        records.append(write_sample(tmp_path, "good", str(index), grey.repeat(3, 2), split="train"))
    assert settled(UNDECIDED, some_photos(records)).monochrome is True


def test_what_is_decided_already_stays(product):
    decided = SynthesisConfig(kind="texture", monochrome=True)
    records = [Record(path) for path in sorted((product / "train" / "good").iterdir())]
    assert settled(decided, some_photos(records)) == decided


def test_image_padding_and_allowed_places_turn_together():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (8, 8, 3), np.uint8)
    view = View(image, image[..., 0] > 100, image[..., 1] > 100)
    for name, turn in TURNS.items():
        seen = [turned(view, [name], np.random.default_rng(i)) for i in range(20)]
        changed = [v for v in seen if v is not view]
        assert 0 < len(changed) < len(seen)
        for other in changed:
            assert np.array_equal(other.image, turn(image))
            assert np.array_equal(other.valid, other.image[..., 0] > 100)
            assert np.array_equal(other.allowed, other.image[..., 1] > 100)


def test_without_an_allowed_turn_the_square_stays_as_it_is():
    view = View(*(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool), np.ones((4, 4), bool)))
    assert turned(view, [], np.random.default_rng(0)) is view


def test_a_random_window_of_a_strip_is_one_of_the_shrunk_photo(photo):
    record, image = photo(300, 100)
    shrunk = as_tiled(image, "strips", 64)
    assert shrunk.shape == (192, 64, 3)
    view = Photos([record], tiled("strips")).view(0, np.random.default_rng(0))
    assert view.valid.all()
    assert any(np.array_equal(view.image, shrunk[top : top + 64]) for top in range(129))


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(500, 1240, "strips"), (64, 520, "strips"), (512, 256, "letterbox"), (121, 283, "letterbox")],
)
def test_strips_are_taken_where_they_show_twice_as_much(photo, height, width, expected):
    looks = some_photos([photo(height, width)[0]])
    assert framed(DataConfig(framing="auto"), looks).framing == expected
    assert framed(DataConfig(framing="tiles"), looks).framing == "tiles"


def test_views_are_kept_by_their_size_and_the_one_unused_for_longest_goes_first():
    reads = []

    def read(index):
        reads.append(index)
        plane = np.ones((10, 10 * (index + 1)), np.bool_)
        return View(np.zeros((*plane.shape, 3), np.uint8), plane, plane)

    kept = Kept(read, tiled().data, room=2 * 500 + 1000)
    kept.warm(2)
    assert reads == [0, 1]
    kept(0)
    assert kept(2).image.shape == (10, 30, 3)
    assert reads == [0, 1, 2]
    assert (list(kept.views), kept.used) == ([0, 2], 500 + 1500)
    kept(9)  # larger than there is room: kept alone
    assert (list(kept.views), kept.used) == ([9], 5000)
    kept(9)
    assert reads == [0, 1, 2, 9]
    full = Kept(read, tiled().data, room=1600)
    full.warm(5)
    assert list(full.views) == [0, 1]


def test_a_framing_that_is_not_decided_is_refused(photo):
    record, _ = photo(64, 64)
    with pytest.raises(ConfigError, match="framing is not decided"):
        Photos([record], tiled("auto"))


def test_of_tiled_photos_several_windows_are_remembered_but_no_more_than_cover_them(photo):
    record, _ = photo(64, 400)
    photos = Photos([record], tiled(), [7])
    assert photos.squares(0) == len(tiles(64, 400, tiled().data)) == 8
    squares, families = some_squares([photos], 0, 1, windows=5)
    assert families == (7,) * 5
    assert len({square.tobytes() for square in squares}) > 1
    assert len(some_squares([photos], 0, 1, windows=20)[0]) == 8
    assert len(some_squares([photos], 0, 1)[0]) == 1
    assert len(some_squares([Photos([record], letterboxed())], 0, 5, windows=8)[0]) == 1


def test_more_photos_behind_do_not_change_the_windows_of_those_before(photo):
    record, _ = photo(64, 400)
    first, second = Photos([record], tiled(), [7]), Photos([record], tiled(), [8])
    alone, _ = some_squares([first], 0, 9, windows=3)
    together, families = some_squares([first, second], 0, 9, windows=3)
    mine = [square for square, family in zip(together, families, strict=True) if family == 7]
    np.testing.assert_array_equal(mine, alone)
