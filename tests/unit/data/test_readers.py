from __future__ import annotations

import json
import shutil
import unicodedata

import numpy as np
import pytest

from blemish.data.layouts import scan_manifest
from blemish.data.readers import read_dataset, read_sample, refuse_inside
from blemish.errors import DatasetError
from blemish.records import Record


def names(records, root):
    return [record.image.relative_to(root).as_posix() for record in records]


def test_an_mvtec_tree_is_read_in_natural_order_with_its_masks(tmp_path, paint, spot):
    for number in (10, 9, 2):
        paint(f"train/good/{number}.png")
    paint("test/good/1.JPG")
    paint("test/crack/000.bmp")
    paint("test/hole/a b.tif")
    paint("ground_truth/crack/000_mask.png", spot)
    paint("ground_truth/hole/a b.gif", spot)
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "mvtec"
    assert names(dataset.train, tmp_path) == [f"train/good/{n}.png" for n in (2, 9, 10)]
    assert names(dataset.test, tmp_path) == [
        "test/crack/000.bmp",
        "test/good/1.JPG",
        "test/hole/a b.tif",
    ]
    assert dataset.defect_types == ("crack", "hole")
    assert [r.mask and r.mask.name for r in dataset.test] == ["000_mask.png", None, "a b.gif"]
    assert all(r.mask is None for r in read_dataset(tmp_path, masks="none").records)


def test_a_tree_with_only_good_train_photos_is_legal(tmp_path, paint):
    paint("train/good/1.png")
    dataset = read_dataset(tmp_path)
    assert dataset.records == (Record(tmp_path / "train/good/1.png"),)
    assert dataset.test == ()


def test_good_photos_beside_the_splits_are_refused_where_there_are_none_to_learn_from(tmp_path, paint):
    for name in ("good/1.png", "test/good/2.png", "test/crack/3.png"):
        paint(name)
    with pytest.raises(DatasetError, match="good is left out") as caught:
        read_dataset(tmp_path)
    assert caught.value.hint == "move its photos into train/good/"
    paint("train/good/4.png")
    assert len(read_dataset(tmp_path).records) == 3


def test_a_folder_of_photos_is_all_good_and_all_train(tmp_path, paint):
    paint("b.jpeg")
    paint("a.PNG")
    (tmp_path / "notes.txt").write_text("shift 2")
    (tmp_path / "._a.PNG").write_bytes(b"resource fork")
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "folder"
    assert names(dataset.train, tmp_path) == ["a.PNG", "b.jpeg"]


@pytest.mark.parametrize("good", ["good", "normal", "OK"])
@pytest.mark.parametrize(
    "mask",
    ["crack/1_mask.png", "crack/1.mask.gif", "masks/crack/1.png", "ground_truth/crack/1_mask.bmp"],
)
def test_a_plain_folder_finds_masks_beside_and_in_a_parallel_tree(tmp_path, paint, spot, good, mask):
    paint(f"{good}/1.png")
    paint("crack/1.jpg")
    paint(mask, spot)
    dataset = read_dataset(tmp_path)
    assert names(dataset.train, tmp_path) == [f"{good}/1.png"]
    assert dataset.test == (Record(tmp_path / "crack/1.jpg", "crack", "test", tmp_path / mask),)


@pytest.mark.parametrize("count", range(1, 31))
def test_a_fifth_of_the_good_photos_of_a_plain_folder_is_test(tmp_path, paint, count):
    for number in range(count):
        paint(f"good/{number}.png", np.zeros((2, 2), np.uint8))
    paint("dent/1.png", np.zeros((2, 2), np.uint8))
    here = read_dataset(tmp_path)
    test = [r for r in here.test if r.is_good]
    assert len(test) == count // 5
    assert len(here.train) == count - count // 5
    shutil.move(tmp_path / "good", tmp_path / "elsewhere/good")
    shutil.move(tmp_path / "dent", tmp_path / "elsewhere/dent")
    there = read_dataset(tmp_path / "elsewhere")
    assert names(there.test, there.root) == names(here.test, here.root)


def test_photo_and_mask_pair_though_their_accents_are_spelt_differently(tmp_path, paint, spot):
    paint("train/good/1.png")
    paint(f"test/dent/{unicodedata.normalize('NFC', 'é')}.png")
    mask = paint(f"ground_truth/dent/{unicodedata.normalize('NFD', 'é')}_mask.png", spot)
    assert read_dataset(tmp_path).test[0].mask == mask


def test_a_type_with_masks_for_some_photos_is_refused(tmp_path, paint, spot):
    paint("train/good/1.png")
    paint("test/crack/1.png")
    paint("test/crack/2.png")
    paint("ground_truth/crack/1_mask.png", spot)
    with pytest.raises(DatasetError, match=r"2.png has no mask: expected .*2_mask.png") as caught:
        read_dataset(tmp_path)
    assert "--masks none" in caught.value.hint
    assert len(read_dataset(tmp_path, masks="none").test) == 2


@pytest.mark.parametrize("place", ["masks/crack", "crack"])
def test_the_mask_that_is_expected_is_one_that_would_pair(tmp_path, paint, spot, place):
    paint("good/1.png"), paint("crack/monday/a.png"), paint("crack/b.png")
    misplaced, placed = (paint(f"{place}/{name}_mask.png", spot) for name in "ab")
    expected = tmp_path / place / "monday/a_mask.png"
    with pytest.raises(DatasetError, match="has no mask") as caught:
        read_dataset(tmp_path)
    assert caught.value.args[0] == f"{tmp_path}/crack/monday/a.png has no mask: expected {expected}"
    expected.parent.mkdir(exist_ok=True)
    misplaced.rename(expected)
    assert [record.mask for record in read_dataset(tmp_path).test] == [placed, expected]


def test_one_mask_for_two_photos_is_refused(tmp_path, paint, spot):
    paint("train/good/1.png")
    paint("test/crack/1.png")
    paint("test/crack/1.jpg")
    paint("ground_truth/crack/1_mask.png", spot)
    with pytest.raises(DatasetError, match="fits 2 photos"):
        read_dataset(tmp_path)


def test_two_masks_for_one_photo_are_refused(tmp_path, paint, spot):
    paint("good/1.png")
    paint("crack/1.png")
    paint("crack/1_mask.png", spot)
    paint("masks/crack/1.png", spot)
    with pytest.raises(DatasetError, match="has 2 masks"):
        read_dataset(tmp_path)


def test_a_manifest_is_read_with_its_defaults(tmp_path, paint, spot):
    paint("a/1.png"), paint("a/2.png"), paint("a/3.png"), paint("m.png", spot)
    lines = [
        {"image": "a/3.png", "label": "dent", "mask": "m.png", "split": "train", "synthetic": True},
        {"image": "a/2.png", "label": "dent", "seed": 7},
        {"image": "a/1.png"},
        {"image": "a/deleted.png", "label": "dent", "mask": "deleted.png"},
    ]
    (tmp_path / "manifest.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    expected = (
        Record(tmp_path / "a/1.png"),
        Record(tmp_path / "a/2.png", "dent", "test"),
        Record(tmp_path / "a/3.png", "dent", "train", tmp_path / "m.png", synthetic=True),
    )
    assert read_dataset(tmp_path).records == expected
    assert read_dataset(tmp_path / "manifest.jsonl").records == expected
    assert read_dataset(tmp_path).train_defects == expected[2:]
    assert read_dataset(tmp_path).layout == "manifest"


@pytest.mark.parametrize("label", ["good", "Good", "OK", "normal"])
def test_a_label_of_a_manifest_is_good_wherever_a_folder_of_that_name_is(tmp_path, paint, spot, label):
    paint(f"{label}/1.png"), paint("2.png"), paint("dent/3.png"), paint("m.png", spot)
    lines = [{"image": f"{label}/1.png", "label": label, "mask": "m.png"}]
    lines += [{"image": "2.png", "label": label, "split": "test"}]
    lines += [{"image": "dent/3.png", "label": "OKAY"}]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    records = read_dataset(tmp_path).records
    by_name = {record.image.name: record for record in records}
    assert by_name["1.png"] == Record(tmp_path / label / "1.png")
    assert by_name["2.png"] == Record(tmp_path / "2.png", split="test")
    assert by_name["3.png"] == Record(tmp_path / "dent/3.png", "OKAY", "test")
    (tmp_path / "manifest.jsonl").unlink(), (tmp_path / "2.png").unlink(), (tmp_path / "m.png").unlink()
    assert {r.image.name for r in read_dataset(tmp_path).records if r.is_good} == {"1.png"}


def test_a_generated_pair_that_did_not_pass_its_gate_is_left_out_and_reported(tmp_path, paint, spot):
    paint("good.png"), paint("m.png", spot)
    lines = [{"image": "good.png"}]
    for index, fact in enumerate([{}, {"accepted": True}, {"accepted": False}, {"accepted": None}]):
        paint(f"{index}.png")
        lines.append(
            {
                "image": f"{index}.png",
                "label": "dent",
                "mask": "m.png",
                "split": "train",
                "synthetic": True,
            }
            | fact
        )
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert names(read_dataset(tmp_path).train_defects, tmp_path) == ["0.png", "1.png", "3.png"]
    assert names(read_dataset(tmp_path).train, tmp_path) == ["good.png"]
    (stray,) = scan_manifest(tmp_path / "manifest.jsonl", "auto").stray
    assert (stray.severity, stray.file) == ("warning", tmp_path / "manifest.jsonl")
    assert "line 4" in stray.what
    assert "2.png did not pass the quality gate" in stray.what
    assert '"accepted": true' in stray.fix


def test_a_generated_pair_knows_the_good_photo_that_it_was_painted_on(tmp_path, paint):
    for index in range(3):
        paint(f"{index}.png")
    sources = [{"source_sha256": "ab" * 32}, {"source_sha256": 3}, {}]
    lines = [{"image": f"{index}.png", "label": "dent"} | one for index, one in enumerate(sources)]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [record.source for record in read_dataset(tmp_path).records] == ["ab" * 32, None, None]


def test_a_generated_pair_knows_the_real_defects_that_it_was_made_of(tmp_path, paint):
    said = [{"exemplars": ["ab" * 32, "cd" * 32]}, {"exemplars": []}, {"exemplars": "ab"}]
    said += [{"exemplars": ["ab", 3]}, {"scale": 1}, ["ab"]]
    for index in range(len(said)):
        paint(f"{index}.png")
    lines = [
        {"image": f"{index}.png", "label": "dent", "parameters": one} for index, one in enumerate(said)
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    first, *others = (record.made_of for record in read_dataset(tmp_path).records)
    assert first == ("ab" * 32, "cd" * 32)
    assert others == [()] * 5


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"image": "../1.png"}', "leaves the dataset"),
        ('{"image": "1.png", "label": "x", "mask": "/etc/passwd"}', "leaves the dataset"),
        ('{"image": "1.png", "label": "x", "mask": "none.png"}', "has no mask"),
        ('{"image": "1.png", "split": "val"}', "split is 'val'"),
        ('{"image": "1.png", "label": 3}', "label is 3"),
        ('{"image": "1.png", "synthetic": "yes"}', "synthetic is 'yes'"),
        ('{"label": "x"}', "image is None"),
        ('["1.png"]', "not a JSON object"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"image": "1.png"}\n{"image": "1.png"}', "lists .* again"),
    ],
)
def test_a_bad_manifest_line_is_refused_with_its_number(tmp_path, paint, line, what):
    paint("1.png")
    (tmp_path / "manifest.jsonl").write_text(line)
    with pytest.raises(DatasetError, match=rf"manifest.jsonl line \d.*{what}") as caught:
        read_dataset(tmp_path)
    assert caught.value.hint


def test_a_path_without_a_dataset_is_refused_with_a_hint(tmp_path, paint):
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    paint("several/bottle/train/good/1.png")
    paint("several/cable/train/good/1.png")
    paint("loose/train/1.png")
    cases = {
        "absent": "does not exist",
        "empty": "no photos",
        "binary.jsonl": "UTF-8",
        "several": "bottle, cable",
        "loose": "lies directly in train/",
    }
    for name, what in cases.items():
        with pytest.raises(DatasetError, match=what) as caught:
            read_dataset(tmp_path / name)
        assert caught.value.hint
    with pytest.raises(DatasetError, match="layout is 'coco'"):
        read_dataset(tmp_path, layout="coco")


@pytest.mark.parametrize(
    ("photos", "out", "refused"),
    [
        (("good/1.png", "dent/1.png"), "run", True),
        (("good/1.png", "dent/1.png"), ".", True),
        (("good/1.png", "dent/1.png"), "../run", False),
        (("train/good/1.png", "test/dent/1.png"), "run", False),
        (("train/good/1.png", "test/dent/1.png"), "test/run", True),
        (("train/good/1.png", "test/dent/1.png"), "ground_truth/run", True),
    ],
)
def test_no_results_are_written_where_they_would_be_read_as_photos(
    tmp_path, paint, photos, out, refused
):
    for photo in photos:
        paint(f"tiles/{photo}")
    dataset = read_dataset(root := tmp_path / "tiles")
    if not refused:
        refuse_inside(dataset, root / out)
        return
    with pytest.raises(DatasetError, match="lies among the photos"):
        refuse_inside(dataset, root / out)


def test_a_sample_has_an_empty_mask_when_good_and_none_when_undrawn(paint, spot):
    image, mask = paint("1.png"), paint("m.png", spot)
    assert not read_sample(Record(image)).mask.any()
    assert read_sample(Record(image, "dent", "test")).mask is None
    drawn = read_sample(Record(image, "dent", "test", mask))
    np.testing.assert_array_equal(drawn.mask, spot > 0)
    assert drawn.image.shape == (40, 48, 3)
