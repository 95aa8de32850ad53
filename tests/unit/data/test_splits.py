from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from blemish.data.splits import first_third, hold_out, read_split, refuse_test, write_split
from blemish.errors import DatasetError
from blemish.records import Record


@pytest.fixture
def photos(tmp_path):
    """Files of distinct content; a split looks at bytes and never decodes them."""

    def make(count, folder="train/good"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        records = [Record(tmp_path / folder / f"{i}.png") for i in range(count)]
        for i, record in enumerate(records):
            record.image.write_text(f"photo {i}")
        return records

    return make


def contents(records):
    return {record.image.read_text() for record in records}


@pytest.mark.parametrize("count", range(1, 31))
def test_held_out_photos_are_disjoint_complete_and_stable_under_order(photos, count):
    records = photos(count)
    split = hold_out(records, seed=3)
    assert set(split.train) | set(split.validation) == set(records)
    assert not set(split.train) & set(split.validation)
    assert len(split.validation) == min(max(8, round(0.15 * count)), count // 2)
    records = [records[i] for i in np.random.default_rng(count).permutation(count)]
    assert hold_out(records, seed=3) == split


def test_names_and_folders_do_not_matter_but_content_and_seed_do(photos, tmp_path):
    first = hold_out(photos(20), seed=0)
    shutil.move(tmp_path / "train/good", tmp_path / "moved")
    renamed = []
    for i, file in enumerate(sorted((tmp_path / "moved").iterdir())):
        renamed.append(Record(file.rename(file.with_name(f"new {i}.png"))))
    before = {f"photo {r.image.stem}" for r in first.validation}
    again = hold_out(renamed, seed=0)
    assert contents(again.validation) == before
    assert again.digest == first.digest
    assert contents(hold_out(renamed, seed=1).validation) != before


@pytest.mark.parametrize("seed", range(10))
def test_copies_of_one_photo_stay_on_one_side(photos, seed):
    records = photos(24)
    for record in records:
        record.image.write_text(f"photo {int(record.image.stem) // 3}")
    split = hold_out(records, seed=seed)
    assert split.validation
    assert not contents(split.train) & contents(split.validation)


@pytest.mark.parametrize("seed", range(10))
def test_photos_of_one_family_stay_on_one_side_whatever_they_hold(photos, seed):
    records = photos(40)
    numbers = [int(record.image.stem) % 10 for record in records]
    split = hold_out(records, seed=seed, families=numbers)
    sides = [{int(r.image.stem) % 10 for r in side} for side in (split.train, split.validation)]
    assert sides[0] | sides[1] == set(range(10))
    assert not sides[0] & sides[1]
    assert len(split.validation) == 8
    order = np.random.default_rng(seed).permutation(40)
    again = hold_out([records[i] for i in order], seed=seed, families=[100 - numbers[i] for i in order])
    assert again == split


@pytest.mark.parametrize(("at_least", "kept"), [(3, 5), (10, 10), (19, 12)])
def test_parts_are_kept_until_there_are_enough_of_them_or_a_quarter_of_the_photos(
    photos, at_least, kept
):
    records = photos(100)
    pairs = [int(record.image.stem) // 2 for record in records]
    split = hold_out(records, seed=0, fraction=0.1, at_least=at_least, families=pairs)
    assert len(split.validation) == 2 * kept
    assert len({int(record.image.stem) // 2 for record in split.validation}) == kept
    strangers = hold_out(records, seed=0, fraction=0.1, at_least=at_least)
    assert len(strangers.validation) == max(10, at_least)


@pytest.mark.parametrize("seed", range(10))
def test_copies_stay_on_one_side_whatever_their_families_and_bring_these_along(photos, seed):
    records = photos(40)
    for record in records:
        record.image.write_text(f"photo {int(record.image.stem) % 20}")
    strangers = hold_out(records, seed=seed, families=range(40))
    assert strangers == hold_out(records, seed=seed)
    # 0..19 in pairs, and their copies strangers: four photos are joined by content and by family.
    numbers = [n // 2 if n < 20 else n for n in range(40)]
    split = hold_out(records, seed=seed, families=numbers)
    sides = [{int(r.image.stem) % 20 // 2 for r in side} for side in (split.train, split.validation)]
    assert len(split.validation) == 8
    assert not sides[0] & sides[1]


def test_a_test_photo_is_refused_before_it_is_opened(tmp_path):
    record = Record(tmp_path / "test/good/absent.png", split="test")
    with pytest.raises(DatasetError, match="only train may be learnt from"):
        hold_out([record], seed=0)
    with pytest.raises(DatasetError, match="only train may be learnt from"):
        refuse_test([record])


def test_a_photo_on_both_sides_is_refused(photos):
    split = hold_out(photos(4), seed=0)
    with pytest.raises(DatasetError, match="both in train and in validation"):
        type(split)(split.train, split.train, split.digest)


@pytest.mark.parametrize("arguments", [{"fraction": 1.0}, {"fraction": -0.1}, {"at_least": -1}])
def test_an_impossible_share_is_refused(photos, arguments):
    with pytest.raises(DatasetError, match="cannot hold out"):
        hold_out(photos(3), seed=0, **arguments)


def test_a_written_split_reads_back_even_from_another_place(photos, tmp_path):
    split = hold_out(photos(12), seed=0)
    mask = tmp_path / "mask.png"
    mask.write_text("mask")
    drawn = Record(tmp_path / "train/good/dent.png", "dent", "train", mask, synthetic=True)
    drawn.image.write_text("dent")
    split = hold_out([*split.train, *split.validation, drawn], seed=0)
    write_split(tmp_path / "split.json", split, tmp_path)
    assert read_split(tmp_path / "split.json", tmp_path) == split
    shutil.copytree(tmp_path, tmp_path / "copy")
    there = read_split(tmp_path / "copy/split.json", tmp_path / "copy")
    assert there.digest == split.digest


def test_a_split_of_linked_photos_reads_back_and_its_hashes_guard_what_lies_behind(photos, tmp_path):
    records = photos(6, "elsewhere")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/good").symlink_to(tmp_path / "elsewhere")
    linked = [Record(tmp_path / "data/good" / record.image.name) for record in records]
    split = hold_out(linked, seed=0)
    write_split(tmp_path / "split.json", split, tmp_path / "data")
    assert read_split(tmp_path / "split.json", tmp_path / "data") == split
    records[2].image.write_text("retouched")
    with pytest.raises(DatasetError, match=r"2.png changed"):
        read_split(tmp_path / "split.json", tmp_path / "data")


def test_a_changed_or_missing_file_is_named(photos, tmp_path):
    records = photos(6)
    split = hold_out(records, seed=0)
    write_split(tmp_path / "split.json", split, tmp_path)
    records[2].image.write_text("retouched")
    with pytest.raises(DatasetError, match=r"2.png changed"):
        read_split(tmp_path / "split.json", tmp_path)
    with pytest.raises(DatasetError, match="changed since the split was made"):
        write_split(tmp_path / "late.json", split, tmp_path)
    records[2].image.unlink()
    with pytest.raises(DatasetError, match=r"2.png is missing"):
        read_split(tmp_path / "split.json", tmp_path)


def test_an_edited_split_file_is_refused(photos, tmp_path):
    path = tmp_path / "split.json"
    write_split(path, hold_out(photos(6), seed=0), tmp_path)
    good = json.loads(path.read_text())
    moved = good | {
        "train": good["train"] + good["validation"][:1],
        "validation": good["validation"][1:],
    }
    cases = {
        "digest": moved,
        "schema 2": good | {"schema": 2},
        "not a split file": {"schema": 1},
        "leaves the dataset": good | {"train": [good["train"][0] | {"image": "../x.png"}]},
        "leaves the dataset: /": good | {"train": [good["train"][0] | {"image": "/x.png"}]},
    }
    for what, content in cases.items():
        path.write_text(json.dumps(content))
        with pytest.raises(DatasetError, match=what) as caught:
            read_split(path, tmp_path)
        assert caught.value.hint
    path.write_text("{")
    with pytest.raises(DatasetError, match="not a split file"):
        read_split(path, tmp_path)
    with pytest.raises(DatasetError, match="not below"):
        write_split(path, hold_out(photos(3), seed=0), tmp_path / "elsewhere")


@pytest.mark.parametrize("count", range(1, 31))
def test_the_first_third_is_disjoint_from_the_rest_and_stable_under_order(tmp_path, count):
    records = [Record(tmp_path / f"crack/{i}.png", "crack", "test") for i in range(count)]
    records = [records[i] for i in np.random.default_rng(count).permutation(count)]
    shots, rest = first_third(records)
    assert [r.image.stem for r in shots] == [str(i) for i in range(max(1, count // 3))]
    assert [r.image.stem for r in rest] == [str(i) for i in range(max(1, count // 3), count)]
    assert {r.split for r in shots} == {"train"}
    assert {r.split for r in rest} <= {"test"}


def test_the_first_third_is_taken_of_each_type_alone(tmp_path):
    counts = {"crack": 7, "hole": 2, "dent": 9}
    records = [
        Record(tmp_path / f"{label}/{i}.png", label, "test")
        for label, count in counts.items()
        for i in np.arange(count)
    ]
    shots, _ = first_third(records)
    assert {label: sum(r.label == label for r in shots) for label in counts} == {
        "crack": 2,
        "hole": 1,
        "dent": 3,
    }
