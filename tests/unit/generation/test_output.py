import json
from dataclasses import replace

import numpy as np
import pytest

from blemish.data import check, encode_png, read_dataset, read_sample, write_sample
from blemish.errors import ArtifactError, DatasetError
from blemish.generation import output as module
from blemish.generation.manifest import Run, read_manifest
from blemish.generation.output import Made, comparison, include_good, write_pairs
from blemish.generation.quality import Scores, Verdict
from blemish.randomness import numpy_generator

RUN = Run(seed=3, model="abc", settings="def")
COUNTS = {"dent": 3, "crack": 2}
SCORES = Scores(change=5, fill=0.9, outside=0, seam=1, copy=0.2)


class Killed(BaseException):
    pass


@pytest.fixture
def source(tmp_path):
    photo = np.full((40, 50, 3), 90, np.uint8)
    return write_sample(tmp_path / "product", "good", "1", photo, split="train")


@pytest.fixture
def make(source):
    made = []

    def one(label, index):
        rng = numpy_generator(RUN.seed, "pair", label, index)
        mask = np.zeros((40, 50), np.bool_)
        mask[5:12, 20 : 22 + int(rng.integers(20))] = True
        image = np.full((40, 50, 3), 90, np.uint8)
        image[mask] = rng.integers(0, 60, 3)
        made.append((label, index))
        reasons = ("fill 0.1 below 0.5",) if index == 1 else ()
        return Made(
            image=image,
            mask=mask,
            source=source.image,
            verdict=Verdict(SCORES, reasons),
            parameters={"scale": 1.0},
            attempts=1 + index,
            refused=(("seam 9 above 2",),) * index,
        )

    one.made = made
    return one


def contents(root):
    files = (file for file in root.rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def test_two_programs_do_not_write_pairs_to_one_folder(tmp_path, make, written_elsewhere):
    root = tmp_path / "out"
    write_pairs(root, COUNTS, make, RUN)
    half = root / "test" / "crack" / ".000000.png.half.tmp"  # what the other one is writing
    half.touch()
    with written_elsewhere(root), pytest.raises(ArtifactError, match="another program"):
        write_pairs(root, COUNTS, make, RUN)
    assert half.exists()
    write_pairs(root, COUNTS, make, RUN)
    assert not half.exists()


def test_exactly_the_wanted_pairs_are_written_and_described(tmp_path, make, source):
    entries = write_pairs(tmp_path / "out", COUNTS, make, RUN)
    assert [entry.key for entry in entries] == [
        ("crack", 0), ("crack", 1), ("dent", 0), ("dent", 1), ("dent", 2)
    ]  # fmt: skip
    for entry in entries:
        expected = make(*entry.key)
        sample = read_sample(entry.record(tmp_path / "out"))
        np.testing.assert_array_equal(sample.image, expected.image)
        np.testing.assert_array_equal(sample.mask, expected.mask)
        assert entry.accepted == (entry.index != 1)
        assert entry.attempts == 1 + entry.index
        assert entry.source == source.image.as_posix()
        assert entry.intact(tmp_path / "out")
    assert read_manifest(tmp_path / "out").entries == {entry.key: entry for entry in entries}


def test_readers_take_the_pairs_for_synthetic_defects_to_learn_from(tmp_path, make):
    entries = write_pairs(tmp_path / "out", COUNTS, make, RUN)
    dataset = read_dataset(tmp_path / "out")
    assert dataset.layout == "manifest"
    passed = {entry.record(tmp_path / "out") for entry in entries if entry.accepted}
    assert set(dataset.train_defects) == passed
    assert len(passed) == 3
    assert all(record.synthetic for record in dataset.records)
    assert not dataset.test


def test_any_reader_of_the_mvtec_layout_finds_defects_with_masks_and_no_good_photo(tmp_path, make):
    write_pairs(tmp_path / "out", COUNTS, make, RUN)
    records = read_dataset(tmp_path / "out", "mvtec").records
    assert len(records) == 5
    assert all(record.label in COUNTS and record.mask is not None for record in records)
    assert all(record.split == "test" for record in records)


def test_with_good_photos_the_folder_is_a_whole_dataset(tmp_path, make):
    goods = [
        write_sample(
            tmp_path / "product", "good", f"g{i}", np.random.default_rng(i).integers(
                0, 256, (40, 50, 3), dtype=np.uint8), split="train",
        )
        for i in range(10)
    ]  # fmt: skip
    root = tmp_path / "out"
    write_pairs(root, COUNTS, make, RUN)
    include_good(root, goods)
    dataset = read_dataset(root)
    assert len(dataset.train) == 10
    assert len(dataset.train_defects) == 3  # two of five did not pass the gate
    assert check(root).ok, check(root).problems
    before = contents(root)
    include_good(root, goods)
    write_pairs(root, COUNTS, make, RUN)
    assert contents(root) == before
    with pytest.raises(DatasetError, match="expected good photos"):
        include_good(root, dataset.train_defects)


def test_good_photos_are_copied_once_and_mended_where_they_changed(tmp_path, make, source):
    root = tmp_path / "out"
    write_pairs(root, COUNTS, make, RUN, good=[source])
    (copy,) = (root / "train" / "good").iterdir()
    assert copy.read_bytes() == source.image.read_bytes()
    assert len(read_dataset(root).train) == 1
    before = copy.stat()
    write_pairs(root, COUNTS, make, RUN, good=[source])
    assert copy.stat().st_ino == before.st_ino  # not written anew
    copy.write_bytes(b"damaged")
    write_pairs(root, COUNTS, make, RUN, good=[source])
    assert copy.read_bytes() == source.image.read_bytes()


def test_good_photos_are_copied_while_nobody_else_may_write(
    tmp_path, make, source, monkeypatch, written_elsewhere
):
    kept_out = []

    def spy(root, _):
        with pytest.raises(AssertionError), written_elsewhere(root):
            pass
        kept_out.append(root)

    monkeypatch.setattr(module, "include_good", spy)
    write_pairs(tmp_path / "out", COUNTS, make, RUN, good=[source])
    assert kept_out == [tmp_path / "out"]


def test_the_photo_before_is_the_folders_copy_where_the_other_has_changed(tmp_path, make, source):
    root = tmp_path / "out"
    entries = write_pairs(root, COUNTS, make, RUN, good=[source])
    whole = comparison(root, entries, [])
    source.image.write_bytes(encode_png(np.zeros((40, 50, 3), np.uint8)))
    np.testing.assert_array_equal(comparison(root, entries, []), whole)
    for copy in (root / "train" / "good").iterdir():
        copy.unlink()
    assert comparison(root, entries, []).shape[1] < whole.shape[1]


@pytest.mark.parametrize("survivors", range(5))
def test_a_killed_run_ends_with_the_files_of_one_that_was_not(tmp_path, make, survivors):
    write_pairs(tmp_path / "whole", COUNTS, make, RUN)
    make.made.clear()

    def until_killed(label, index):
        if len(make.made) == survivors:
            raise Killed
        return make(label, index)

    with pytest.raises(Killed):
        write_pairs(tmp_path / "out", COUNTS, until_killed, RUN)
    # What SIGKILL can leave behind: half a line, half a file, a photo that nobody listed.
    with (tmp_path / "out" / "manifest.jsonl").open("a") as file:
        file.write('{"image": "test/de')
    folder = tmp_path / "out" / "test" / "dent"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".000002.png.x1.tmp").write_bytes(b"half")
    (folder / "000002.png").write_bytes(b"old")
    make.made.clear()
    write_pairs(tmp_path / "out", COUNTS, make, RUN)
    assert len(make.made) == 5 - survivors
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_pair_that_was_deleted_or_damaged_is_made_again(tmp_path, make):
    entries = write_pairs(tmp_path / "out", COUNTS, make, RUN)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / entries[0].image).unlink()
    (tmp_path / "out" / entries[3].mask).write_bytes(b"damaged")
    make.made.clear()
    write_pairs(tmp_path / "out", COUNTS, make, RUN)
    assert make.made == [entries[0].key, entries[3].key]
    assert contents(tmp_path / "out") == before


def test_more_pairs_are_added_to_those_there(tmp_path, make):
    write_pairs(tmp_path / "out", {"dent": 2}, make, RUN)
    make.made.clear()
    write_pairs(tmp_path / "out", COUNTS, make, RUN)
    assert make.made == [("crack", 0), ("crack", 1), ("dent", 2)]
    write_pairs(tmp_path / "whole", COUNTS, make, RUN)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_each_new_entry_is_reported_once(tmp_path, make):
    seen = []
    write_pairs(tmp_path / "out", {"dent": 2}, make, RUN, seen.append)
    write_pairs(tmp_path / "out", {"dent": 3}, make, RUN, seen.append)
    assert [entry.index for entry in seen] == [0, 1, 2]


def test_pairs_of_another_run_are_not_mixed_in(tmp_path, make):
    write_pairs(tmp_path / "out", COUNTS, make, RUN)
    with pytest.raises(DatasetError, match="another run"):
        write_pairs(tmp_path / "out", COUNTS, make, Run(4, "abc", "def"))
    with pytest.raises(DatasetError, match="only 1 of dent"):
        write_pairs(tmp_path / "out", {"dent": 1}, make, RUN)


def test_a_folder_of_something_else_is_left_alone(tmp_path, make):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not empty"):
        write_pairs(tmp_path / "out", COUNTS, make, RUN)
    assert list(contents(tmp_path / "out")) == ["thesis.txt"]


@pytest.mark.parametrize(
    "change", [{"image": "../out.png"}, {"run": {}}, {"index": "1"}, {"mask": None}, {"source": 3}]
)
def test_a_line_that_was_tampered_with_is_named(tmp_path, make, change):
    (entry,) = write_pairs(tmp_path / "out", {"dent": 1}, make, RUN)
    line = json.dumps(json.loads(entry.line()) | change)
    (tmp_path / "out" / "manifest.jsonl").write_text(line + "\n")
    with pytest.raises(DatasetError, match="line 1"):
        read_manifest(tmp_path / "out")


def test_the_sheet_shows_real_and_generated_side_by_side(tmp_path, make, source):
    entries = write_pairs(tmp_path / "out", COUNTS, make, RUN)
    real = [(make("dent", 7).image, make("dent", 7).mask)]
    sheet = comparison(tmp_path / "out", entries, real, shown=3)
    assert sheet.shape[1] == 8 + 4 * (192 + 8)
    assert sheet.shape[0] > 3 * 192
    bare = comparison(tmp_path / "out", entries, real, shown=3, scores=False)
    assert bare.shape[0] < sheet.shape[0]
    refused = [replace(entry, reasons=("seam 3 above 2",)) for entry in entries]
    said = comparison(tmp_path / "out", refused, real, shown=3, scores=False)
    assert bare.shape[0] < said.shape[0] < sheet.shape[0]
    source.image.unlink()
    assert comparison(tmp_path / "out", entries, real, shown=3).shape[1] == 8 + 3 * (192 + 8)
