from __future__ import annotations

import json

import numpy as np
import pytest

from blemish.config import validated
from blemish.data import read_image, read_mask, read_sample, write_png
from blemish.errors import ConfigError, DatasetError
from blemish.generation import learn, proposals, region_of_interest, write_masks
from blemish.generation.painter import Painter
from blemish.generation.proposals import mask_files, on_photo, plausible
from blemish.generator_config import GeneratorConfig
from blemish.synthesis import foreground

CENTRE = ((20.0, 20.0), (76.0, 24.0), (60.0, 80.0))


def square(low, high, side=64):
    mask = np.zeros((side, side), np.bool_)
    mask[low:high, low:high] = True
    return mask


class Draws:
    """Stands in for `Painter.mask`: every third attempt is usable, and a kill may come at a call."""

    def __init__(self):
        self.made, self.killed_at = [], None

    def __call__(self, label, name):
        self.made.append((label, name[1]))
        if len(self.made) == self.killed_at:
            raise KeyboardInterrupt
        low = 20 + name[1] if label == "rust" else 10
        return square(low, low + 12) if name[1] % 3 == 2 else square(0, 64)


def files_in(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def draws(monkeypatch):
    draws = Draws()
    monkeypatch.setattr(Painter, "mask", lambda *given: draws(given[1], given[-1]))
    return draws


@pytest.fixture
def learned(network, dataset):
    """Write learned masks of both types: `learned(folder)`."""

    def write(out, rust=4, scratch=3, seed=0):
        counts = {"rust": rust, "scratch": scratch}
        return write_masks(network, dataset.train, counts, out, seed=seed, learned=True)

    return write


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


def test_learned_masks_are_of_whole_photos_and_not_of_a_region(network, dataset, tmp_path):
    region = [(0, 0), (50, 0), (50, 50)]
    with pytest.raises(ConfigError, match="a region does not move them"):
        write_masks(network, dataset.train, {"rust": 1}, tmp_path, learned=True, region=region)


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


@pytest.mark.parametrize("call", [1, 2, 6, 7, 12, 13, 17, 21])
def test_a_killed_run_goes_on_with_the_next_attempt_and_ends_with_the_same_files(
    draws, learned, tmp_path, call
):
    whole = learned(tmp_path / "whole")
    attempts, draws.made = draws.made, []
    assert attempts == [("rust", n) for n in range(12)] + [("scratch", n) for n in range(9)]
    assert [len(files) for files in whole.values()] == [4, 3]

    out, draws.killed_at = tmp_path / "killed", call
    with pytest.raises(KeyboardInterrupt):
        learned(out)
    assert len(list(out.rglob("*.png"))) == (call - 1) // 3  # as they are drawn
    with pytest.raises(DatasetError, match="run that drew them was stopped"):
        mask_files(out)
    found = learned(out)
    assert draws.made == [*attempts[:call], *attempts[call - 1 :]]
    assert found == mask_files(out) == {label: sorted((out / label).iterdir()) for label in found}
    assert files_in(out) == files_in(tmp_path / "whole")


@pytest.mark.usefixtures("draws")
def test_a_kill_between_a_mask_and_its_note_and_half_a_file_leave_no_trace(
    learned, tmp_path, monkeypatch
):
    learned(tmp_path / "whole")
    out, note = tmp_path / "killed", proposals.write_json

    def killed(path, value):
        if value["kept"] == 1:
            raise KeyboardInterrupt
        note(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(proposals, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            learned(out)
    assert (out / "rust" / "000000.png").is_file()
    for half in (out / ".rust.json.x.tmp", out / "rust" / ".000001.png.x.tmp"):
        half.write_bytes(b"half")
    learned(out)
    assert files_in(out) == files_in(tmp_path / "whole")


def test_finished_masks_are_not_drawn_again_and_stay_as_they_were_edited(draws, learned, tmp_path):
    files = learned(tmp_path)
    write_png(files["rust"][1], square(30, 50, 96))
    before, draws.made = files_in(tmp_path), []
    assert learned(tmp_path) == files
    assert (draws.made, files_in(tmp_path)) == ([], before)


@pytest.mark.parametrize("other", [{"seed": 1}, {"rust": 3}, {"rust": 5}])
def test_masks_of_another_run_are_neither_taken_nor_overwritten(draws, learned, tmp_path, other):
    draws.killed_at = 8
    with pytest.raises(KeyboardInterrupt):
        learned(tmp_path)
    before = files_in(tmp_path)
    with pytest.raises(DatasetError, match="holds masks already"):
        learned(tmp_path, **other)
    assert files_in(tmp_path) == before


def test_masks_of_unknown_origin_and_masks_that_are_lost_are_refused(draws, learned, tmp_path):
    write_png(tmp_path / "own" / "scratch" / "mine.png", square(20, 30))
    files = learned(tmp_path / "lost")
    files["scratch"][0].unlink()
    before, draws.made = files_in(tmp_path), []
    for out in (tmp_path / "own", tmp_path / "lost"):
        with pytest.raises(DatasetError, match="holds masks already"):
            learned(out)
    assert (draws.made, files_in(tmp_path)) == ([], before)


def test_where_nothing_has_been_drawn_yet_another_run_begins(draws, learned, tmp_path):
    draws.killed_at = 3
    with pytest.raises(KeyboardInterrupt):
        learned(tmp_path)
    assert len(learned(tmp_path, seed=1)["rust"]) == 4
    assert draws.made[3:5] == [("rust", 0), ("rust", 1)]


def test_what_is_noted_by_somebody_else_is_no_progress(tmp_path):
    write_png(tmp_path / "rust" / "mine.png", square(20, 30))
    for name, content in {"a": "[1]", "b": "{", "c": '{"run": {}}', "d": "{}"}.items():
        (tmp_path / f"{name}.json").write_text(content, encoding="utf-8")
    assert mask_files(tmp_path) == {"rust": [tmp_path / "rust" / "mine.png"]}


def test_masks_of_the_real_defects_go_on_likewise(generator, dataset, drawn):
    out = drawn["rust"][0].parents[1]
    whole = files_in(out)
    progress = json.loads((out / "rust.json").read_text(encoding="utf-8"))
    (out / "rust" / "000002.png").unlink()
    (out / "rust.json").write_text(json.dumps(progress | {"tried": 2, "kept": 2}), encoding="utf-8")
    write_masks(generator, dataset.train, {"scratch": 2, "rust": 3}, out, seed=4)
    assert files_in(out) == whole


@pytest.mark.parametrize(("count", "expected"), [(1, 21), (2, 41), (3, 50), (1000, 50)])
def test_a_type_without_a_usable_mask_is_given_up_early_and_stays_given_up(
    network, dataset, tmp_path, monkeypatch, count, expected
):
    told = []
    monkeypatch.setattr(Painter, "mask", lambda *given: told.append(given) or square(0, 64))
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"of {expected} learned masks of rust only 0 are usable"):
            write_masks(network, dataset.train, {"rust": count}, tmp_path, learned=True)
        assert len(told) == expected


def test_one_usable_mask_of_the_first_fifty_keeps_a_type_going(network, dataset, tmp_path, monkeypatch):
    def draw(_, __, ___, ____, name):
        return square(20, 40) if name[1] in (49, 55, 60) else square(0, 64)

    monkeypatch.setattr(Painter, "mask", draw)
    found = write_masks(network, dataset.train, {"rust": 3}, tmp_path, learned=True)
    assert len(found["rust"]) == 3
    assert json.loads((tmp_path / "rust.json").read_text(encoding="utf-8"))["tried"] == 61
