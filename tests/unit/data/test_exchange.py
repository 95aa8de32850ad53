import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

from blemish.data import read_mask, write_coco, write_sample, write_yolo
from blemish.errors import DatasetError

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def records(tmp_path):
    ring = np.zeros((40, 60), np.bool_)
    ring[5:25, 10:40] = True
    ring[10:20, 15:30] = False
    ring[30:36, 50:58] = True
    dot = np.zeros((40, 60), np.bool_)
    dot[0:4, 56:60] = True
    root = tmp_path / "product"
    return [
        write_sample(root, "good", "1", PHOTO, split="train"),
        write_sample(root, "good", "1", PHOTO),
        write_sample(root, "dent 10", "1", PHOTO, dot),
        write_sample(root, "dent 2", "1", PHOTO, ring, split="train"),
    ]


def filled(corners, fine=9):
    canvas = Image.new("1", (60 * fine, 40 * fine))
    ImageDraw.Draw(canvas).polygon([(x * fine - 0.5, y * fine - 0.5) for x, y in corners], fill=1)
    return np.array(canvas)[fine // 2 :: fine, fine // 2 :: fine]


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def test_coco_polygons_drawn_again_are_the_masks(records, tmp_path):
    write_coco(tmp_path / "coco.json", records, tmp_path / "product")
    coco = json.loads((tmp_path / "coco.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert names == {1: "dent 2", 2: "dent 10"}
    by_file = {image["file_name"]: image for image in coco["images"]}
    assert len(by_file) == 4
    for record in records:
        image = by_file[record.image.relative_to(tmp_path / "product").as_posix()]
        assert (image["width"], image["height"]) == (60, 40)
        mine = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        if record.is_good:
            assert not mine
            continue
        mask, found = read_mask(record.mask), np.zeros((40, 60), np.bool_)
        for annotation in mine:
            (polygon,) = annotation["segmentation"]
            part = filled(zip(polygon[::2], polygon[1::2], strict=True))
            rows, columns = np.nonzero(part)
            assert annotation["area"] == part.sum()
            assert annotation["bbox"] == [
                columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
            ]  # fmt: skip
            assert names[annotation["category_id"]] == record.label
            found |= part
        assert overlap(found, mask) > 0.97


def test_yolo_lines_drawn_again_are_the_masks(records, tmp_path):
    write_yolo(tmp_path / "yolo", records)
    data = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert data["names"] == ["dent 2", "dent 10"]
    for record in records:
        split = {"train": "train", "test": "val"}[record.split]
        stem = f"{record.label}_1"
        copy = tmp_path / "yolo" / data[split] / f"{stem}.png"
        assert copy.read_bytes() == record.image.read_bytes()
        lines = (tmp_path / "yolo" / "labels" / split / f"{stem}.txt").read_text().splitlines()
        found = np.zeros((40, 60), np.bool_)
        for line in lines:
            number, *shares = line.split()
            assert data["names"][int(number)] == record.label
            corners = np.array(shares, float).reshape(-1, 2)
            assert corners.min() >= 0
            assert corners.max() <= 1
            found |= filled((corners * (60, 40)).round(3))
        if record.is_good:
            assert not lines
        else:
            assert overlap(found, read_mask(record.mask)) > 0.97


def test_what_was_refused_since_is_taken_out_and_without_test_photos_train_is_validated_on(
    records, tmp_path
):
    records = [replace(record, split="train") for record in records[1:]]
    write_yolo(tmp_path, records)
    (tmp_path / "images" / "train" / "own.png").touch()
    write_yolo(tmp_path, records[1:], dropped=records[:1])
    found = {file.stem for file in (tmp_path / "images" / "train").iterdir()}
    assert found == {f"{record.label}_1" for record in records[1:]} | {"own"}
    assert len(list((tmp_path / "labels" / "train").iterdir())) == len(records) - 1
    data = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert data["val"] == data["train"] == "images/train"


def test_what_cannot_be_said_in_the_format_is_refused(records, tmp_path):
    undrawn = write_sample(tmp_path / "product", "stain", "1", PHOTO)
    for write in (
        lambda: write_coco(tmp_path / "coco.json", [undrawn], tmp_path / "product"),
        lambda: write_yolo(tmp_path / "yolo", [undrawn]),
        lambda: write_coco(tmp_path / "coco.json", records, tmp_path / "elsewhere"),
    ):
        with pytest.raises(DatasetError) as caught:
            write()
        assert caught.value.hint


def test_two_photos_of_one_name_do_not_overwrite_each_other(tmp_path):
    one = write_sample(tmp_path / "a", "good", "1", PHOTO)
    other = write_sample(tmp_path / "b", "good", "1", PHOTO)
    with pytest.raises(DatasetError, match="the name of another"):
        write_yolo(tmp_path / "yolo", [one, other])
