from __future__ import annotations

import shutil

import numpy as np
import pytest

from blemish.data.benchmarks import find_benchmark, read_benchmark
from blemish.data.readers import read_dataset, read_sample
from blemish.errors import DatasetError
from blemish.records import GOOD, Record

HEADER = "object,split,label,image,mask"


@pytest.fixture
def touch(tmp_path):
    """Write an empty file: what must not be opened need not be a photo."""

    def write(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return write


@pytest.fixture
def mvtec(touch):
    touch(
        "license.txt",
        "bottle/readme.txt",
        "bottle/train/good/000.png",
        "bottle/test/good/000.png",
        "bottle/test/broken_large/000.png",
        "bottle/ground_truth/broken_large/000_mask.png",
        "metal_nut/train/good/000.png",
        "metal_nut/test/flip/000.png",
        "metal_nut/ground_truth/flip/000_mask.png",
    )


@pytest.fixture
def visa(tmp_path, touch):
    """Return a writer of VisA's list; without lines, of the right one for two tiny categories."""
    lines = []
    for name in ("pipe_fryum", "candle"):
        photos, masks = f"{name}/Data/Images", f"{name}/Data/Masks"
        touch(f"{name}/image_anno.csv", f"{photos}/Normal/0836.JPG", f"{photos}/Normal/0007.JPG")
        touch(f"{photos}/Anomaly/000.JPG", f"{masks}/Anomaly/000.png")
        lines += [
            f"{name},train,normal,{photos}/Normal/0836.JPG,",
            f"{name},test,normal,{photos}/Normal/0007.JPG,",
            f"{name},test,anomaly,{photos}/Anomaly/000.JPG,{masks}/Anomaly/000.png",
        ]

    def write(*changed, header=HEADER):
        (tmp_path / "split_csv").mkdir(exist_ok=True)
        text = "\r\n".join([header, *(changed or lines), ""])
        (tmp_path / "split_csv/1cls.csv").write_text(text, encoding="utf-8")

    write()
    return write


def dagm_class(touch, folder):
    for split, good, defective in (("Train", "0001", "0002"), ("Test", "0003", "0010")):
        touch(f"{folder}/{split}/{good}.PNG", f"{folder}/{split}/{defective}.PNG")
        touch(f"{folder}/{split}/Thumbs.db", f"{folder}/{split}/Label/{defective}_label.PNG")


@pytest.mark.parametrize("name", ["auto", "mvtec", "mpdd"])
@pytest.mark.usefixtures("mvtec")
def test_each_category_of_mvtec_and_mpdd_is_what_read_dataset_makes_of_its_folder(tmp_path, name):
    found = read_benchmark(tmp_path, name)
    assert list(found) == ["bottle", "metal_nut"]
    assert all(found[category] == read_dataset(tmp_path / category) for category in found)
    assert found["metal_nut"].defect_types == ("flip",)


@pytest.mark.usefixtures("mvtec")
def test_the_folder_of_one_category_is_a_benchmark_of_one(tmp_path, monkeypatch):
    assert list(read_benchmark(tmp_path / "bottle")) == ["bottle"]
    monkeypatch.chdir(tmp_path / "bottle")
    assert list(read_benchmark(".")) == ["bottle"]


@pytest.mark.usefixtures("visa")
def test_visa_is_read_as_its_list_says(tmp_path):
    found = read_benchmark(tmp_path)
    assert list(found) == ["candle", "pipe_fryum"]
    candle = found["candle"]
    assert candle.root == tmp_path / "candle"
    data = tmp_path / "candle/Data"
    assert candle.train == (Record(data / "Images/Normal/0836.JPG"),)
    defect = Record(data / "Images/Anomaly/000.JPG", "anomaly", "test", data / "Masks/Anomaly/000.png")
    assert candle.test == (defect, Record(data / "Images/Normal/0007.JPG", GOOD, "test"))


@pytest.mark.usefixtures("visa")
def test_masks_of_small_integers_as_in_visa_mark_the_defect(tmp_path, paint, spot):
    paint("candle/Data/Images/Anomaly/000.JPG")
    paint("candle/Data/Masks/Anomaly/000.png", (spot > 0).astype(np.uint8) * 3)
    (record,) = read_benchmark(tmp_path)["candle"].defects
    assert np.array_equal(read_sample(record).mask, spot > 0)


@pytest.mark.usefixtures("visa")
def test_categories_of_visa_that_were_not_unpacked_are_left_out(tmp_path):
    shutil.rmtree(tmp_path / "candle")
    assert list(read_benchmark(tmp_path, "visa")) == ["pipe_fryum"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("candle,train,normal,candle/Data/Images/Normal/1.JPG,", "1.JPG does not exist"),
        ("candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,", "mask is ''"),
        (
            "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/1.png",
            "1.png does not exist",
        ),
        ("candle,test,anomaly", "image is ''"),
        ("candle,validation,normal,candle/Data/Images/Normal/0836.JPG,", "split is 'validation'"),
        ("candle,train,fine,candle/Data/Images/Normal/0836.JPG,", "label is 'fine'"),
        ("candle,train,normal,pipe_fryum/Data/Images/Normal/0836.JPG,", "does not exist"),
        ("candle,train,normal,candle/../../secret.JPG,", "leaves the dataset"),
        ("..,train,normal,secret.JPG,", "object leaves the dataset"),
    ],
)
def test_a_line_of_visa_that_cannot_be_right_is_named(tmp_path, visa, line, message):
    good = "candle,train,normal,candle/Data/Images/Normal/0836.JPG,"
    visa(good, line)
    with pytest.raises(DatasetError, match=message) as caught:
        read_benchmark(tmp_path)
    assert "1cls.csv line 3" in str(caught.value)
    assert caught.value.hint


def test_a_list_of_visa_without_its_columns_is_refused(tmp_path, visa):
    visa("candle,train,candle/Data/Images/Normal/0836.JPG", header="object,split,image")
    with pytest.raises(DatasetError, match="no column label, mask"):
        read_benchmark(tmp_path)


@pytest.mark.usefixtures("visa")
def test_a_list_of_visa_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "split_csv/1cls.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="cannot be read as a table"):
        read_benchmark(tmp_path)


@pytest.mark.usefixtures("visa")
def test_a_list_of_visa_without_lines_holds_nothing(tmp_path):
    (tmp_path / "split_csv/1cls.csv").write_text(HEADER)
    with pytest.raises(DatasetError, match="holds no such benchmark"):
        read_benchmark(tmp_path)


@pytest.mark.parametrize("nested", ["", "/Class10"])
def test_a_photo_of_dagm_is_a_defect_if_it_has_a_mask(tmp_path, touch, nested):
    dagm_class(touch, f"Class10{nested}")
    dagm_class(touch, "Class2")
    found = read_benchmark(tmp_path)
    assert list(found) == ["Class2", "Class10"]
    here = tmp_path / f"Class10{nested}"
    assert found["Class10"].root == here
    assert found["Class10"].records == (
        Record(here / "Test/0003.PNG", GOOD, "test"),
        Record(here / "Test/0010.PNG", "defect", "test", here / "Test/Label/0010_label.PNG"),
        Record(here / "Train/0001.PNG"),
        Record(here / "Train/0002.PNG", "defect", "train", here / "Train/Label/0002_label.PNG"),
    )


def test_the_training_photos_of_dagm_are_its_good_ones(tmp_path, touch):
    dagm_class(touch, "Class1")
    (dataset,) = read_benchmark(tmp_path / "Class1").values()
    assert [record.image.name for record in dataset.train] == ["0001.PNG"]
    assert [record.image.name for record in dataset.train_defects] == ["0002.PNG"]


def test_a_mask_that_dagm_lists_must_be_there(tmp_path, touch):
    dagm_class(touch, "Class1")
    listing = tmp_path / "Class1/Train/Label/Labels.txt"
    listing.write_text("1\n1\t0\t0001.PNG\t0\t0\n2\t1\t0002.PNG\t0\t0002_label.PNG\n")
    assert read_benchmark(tmp_path)
    (tmp_path / "Class1/Train/Label/0002_label.PNG").unlink()
    with pytest.raises(DatasetError, match=r"0002_label.PNG does not exist, and .*Labels.txt lists it"):
        read_benchmark(tmp_path)


def test_photos_of_dagm_without_their_masks_are_not_taken_for_good(tmp_path, touch):
    touch("Class1/Train/0001.PNG", "Class1/Test/Label/0002_label.PNG")
    with pytest.raises(DatasetError, match="has no Label/"):
        read_benchmark(tmp_path)


@pytest.mark.parametrize(
    ("folder", "expected"), [("Class1/Train", "Train/0001"), ("nut/train", "good")]
)
def test_an_empty_category_is_refused(tmp_path, folder, expected):
    (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DatasetError, match=f"holds no photos: expected .*{expected}"):
        read_benchmark(tmp_path)


@pytest.mark.usefixtures("mvtec")
def test_a_missing_mask_of_mvtec_is_named(tmp_path, touch):
    touch("bottle/test/broken_large/001.png")
    with pytest.raises(DatasetError, match=r"001.png has no mask: expected .*001_mask.png"):
        read_benchmark(tmp_path)


def test_what_is_no_benchmark_is_told_what_each_looks_like(tmp_path, touch):
    touch("good/1.png")
    with pytest.raises(DatasetError) as caught:
        read_benchmark(tmp_path)
    for words in ("mvtec: <category>/train", "visa: split_csv", "dagm: Class<N>", "mpdd: <category>"):
        assert words in str(caught.value)


@pytest.mark.usefixtures("visa")
def test_a_tree_of_no_known_kind_is_none_and_a_damaged_one_is_an_error(tmp_path):
    assert find_benchmark(tmp_path) == read_benchmark(tmp_path)
    assert find_benchmark(tmp_path / "candle") == find_benchmark(tmp_path / "nowhere") == {}
    (tmp_path / "candle/Data/Images/Anomaly/000.JPG").unlink()
    with pytest.raises(DatasetError, match=r"000\.JPG does not exist"):
        find_benchmark(tmp_path)


@pytest.mark.usefixtures("mvtec")
def test_a_named_benchmark_is_not_read_as_another(tmp_path):
    with pytest.raises(DatasetError, match="visa: split_csv") as caught:
        read_benchmark(tmp_path, "visa")
    assert "dagm" not in str(caught.value)
    with pytest.raises(DatasetError, match="dagm: Class<N>"):
        read_benchmark(tmp_path, "dagm")
    with pytest.raises(DatasetError, match="is not a folder"):
        read_benchmark(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="choose from: auto, mvtec, visa, dagm, mpdd"):
        read_benchmark(tmp_path, "kolektor")
