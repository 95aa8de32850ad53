from __future__ import annotations

import numpy as np
import pytest

from blemish.config import validated
from blemish.data import read_image, read_mask, read_sample
from blemish.errors import ConfigError, DatasetError
from blemish.generation import learn, region_of_interest, write_masks
from blemish.generation.painter import Painter
from blemish.generation.proposals import on_photo, plausible
from blemish.generator_config import GeneratorConfig
from blemish.synthesis import foreground

CENTRE = ((20.0, 20.0), (76.0, 24.0), (60.0, 80.0))


def square(low, high, side=64):
    mask = np.zeros((side, side), np.bool_)
    mask[low:high, low:high] = True
    return mask


@pytest.fixture
def drawn(generator, dataset, tmp_path):
    return write_masks(generator, dataset.train, {"scratch": 2, "rust": 3}, tmp_path / "masks", seed=4)


def test_each_type_gets_a_folder_with_its_number_of_masks(drawn, tmp_path):
    folder = tmp_path / "masks"
    assert drawn == {
        "rust": [folder / "rust" / f"{index:06d}.png" for index in range(3)],
        "scratch": [folder / "scratch" / f"{index:06d}.png" for index in range(2)],
    }
    assert sorted(folder.rglob("*.png")) == [*drawn["rust"], *drawn["scratch"]]


def test_a_mask_is_a_black_and_white_picture_as_large_as_a_photo(drawn):
    for path in (*drawn["rust"], *drawn["scratch"]):
        picture, mask = read_image(path), read_mask(path)
        assert picture.shape == (96, 96, 3)
        assert set(np.unique(picture)) == {0, 255}
        assert (picture.any(axis=2) == mask).all()
        assert mask.any()


def test_masks_lie_on_the_product(drawn, dataset):
    """Nuts lie in the middle of all photos: no mask goes beyond what any of them covers."""
    covered = np.any([foreground(read_image(record.image)) for record in dataset.train], axis=0)
    for path in (*drawn["rust"], *drawn["scratch"]):
        assert not read_mask(path)[~covered].any()


def test_the_seed_decides_which_masks_are_drawn(drawn, generator, dataset, tmp_path):
    def again(seed):
        out = tmp_path / f"again {seed}"
        files = write_masks(generator, dataset.train, {"scratch": 2}, out, seed=seed)["scratch"]
        return [path.read_bytes() for path in files]

    before = [path.read_bytes() for path in drawn["scratch"]]
    assert again(4) == before
    assert again(5) != before
    assert before[0] != before[1]


def test_a_region_keeps_the_masks_inside(generator, dataset, tmp_path):
    inside = region_of_interest(CENTRE, (96, 96))
    found = write_masks(generator, dataset.train, {"scratch": 3}, tmp_path, region=CENTRE)
    for path in found["scratch"]:
        assert not read_mask(path)[~inside].any()


def test_drawn_masks_are_masks_to_paint_with(drawn, generator, dataset, tmp_path):
    other = generator.with_masks(drawn)
    entries = other.generate(dataset.train, {"rust": 1, "scratch": 1}, tmp_path / "out")
    for entry in entries:
        assert entry.parameters["template"] in map(str, drawn[entry.label])
        assert read_sample(entry.record(tmp_path / "out")).mask.any()


def test_an_unknown_type_and_defects_as_good_photos_are_refused(generator, dataset, tmp_path):
    with pytest.raises(ConfigError, match="'chip' was not learned"):
        write_masks(generator, dataset.train, {"chip": 1}, tmp_path / "out")
    with pytest.raises(DatasetError):
        write_masks(generator, dataset.defects, {"rust": 1}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (square(0, 0), False),
        (square(20, 30), True),
        (square(0, 21), True),  # 21 of 64 along two sides: less than a third
        (square(0, 22), False),
        (square(42, 64), False),
        (square(0, 64), False),
    ],
)
def test_a_learned_mask_marks_something_and_does_not_run_along_a_side(mask, expected):
    assert plausible(mask) == expected


def test_shapes_that_were_not_learned_cannot_be_drawn(generator, dataset, tmp_path):
    with pytest.raises(ConfigError, match="has not learned the shapes of masks"):
        write_masks(generator, dataset.train, {"rust": 1}, tmp_path, learned=True)


def test_patches_have_not_learned_shapes_whatever_was_asked_for(dataset, tmp_path):
    given = {"product": {"kind": "object", "turns": []}, "learning": {"masks": True}}
    config = validated(GeneratorConfig, given)
    with pytest.raises(ConfigError):
        write_masks(
            learn(dataset, config, tmp_path / "run", device="cpu"),
            dataset.train,
            {"rust": 1},
            tmp_path,
            learned=True,
        )


def test_of_the_learned_masks_the_plausible_ones_are_kept_without_their_crumbs(
    network, dataset, tmp_path, monkeypatch
):
    blot = square(20, 40)
    blot[50, 50] = True  # a four hundredth of the rest
    told = []

    def draw(_, label, __, ___, name):
        told.append((label, name))
        return square(0, 64) if name[1] % 2 else blot

    monkeypatch.setattr(Painter, "mask", draw)
    found = write_masks(network, dataset.train, {"rust": 2}, tmp_path, seed=3, learned=True)
    assert told == [("rust", (3, 0)), ("rust", (3, 1)), ("rust", (3, 2))]
    for path, record in zip(found["rust"], dataset.train, strict=False):
        height, width = read_image(record.image).shape[:2]
        np.testing.assert_array_equal(read_mask(path), on_photo(square(20, 40), height, width))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (512, 512), (128, 256), (300, 75)])
def test_a_learned_mask_covers_of_a_photo_what_it_covers_of_its_square(height, width):
    """Squares show whole photos: their padding is cut off, the rest is as large as the photo."""
    found = on_photo(square(24, 40), height, width)
    assert found.shape == (height, width)
    scale = max(height, width) / 64
    rows, columns = np.nonzero(found)
    for places, length in ((rows, height), (columns, width)):
        middle, half = length / 2, min(8 * scale, length / 2)
        assert abs(places.min() - (middle - half)) <= scale
        assert abs(places.max() + 1 - (middle + half)) <= scale


def test_a_network_that_draws_nothing_usable_is_told_on(network, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(Painter, "mask", lambda *_: square(0, 64))
    with pytest.raises(ConfigError, match="only 0 are usable") as caught:
        write_masks(network, dataset.train, {"rust": 1}, tmp_path, learned=True)
    assert "--learned" in caught.value.hint
