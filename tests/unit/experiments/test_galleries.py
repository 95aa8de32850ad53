from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from blemish.data import Dataset, read_image, read_mask, read_sample, write_sample
from blemish.data.pictures import OUTLINE
from blemish.experiments.galleries import (
    GALLERY,
    HEADS,
    LOOK_HEADS,
    pairs_gallery,
    read_gallery,
    write_gallery,
)
from blemish.experiments.localisation import Maps
from blemish.records import Record

SIZE = 64


def maps_of(records: tuple[Record, ...], heat: float = 0.0) -> Maps:
    """Return maps that mark the defect, and scores that grow from the first photo to the last."""
    masks = [read_sample(record).mask for record in records]
    values = [(heat * mask).astype(np.float32) for mask in masks]
    valid = [np.ones((SIZE, SIZE), np.bool_)] * len(records)
    return Maps(records, values, masks, valid, np.arange(len(records), dtype=np.float64))


def test_two_photos_of_each_label_are_kept_the_least_and_the_most_anomalous(plain: Dataset, tmp_path):
    write_gallery(tmp_path / GALLERY, maps_of(plain.test))
    rows = read_gallery(tmp_path / GALLERY)
    assert [name for name, _ in rows] == ["bar", "bar", "good", "good", "spot", "spot"]
    for place, end in ((0, 0), (1, -1)):
        for label, row in (("bar", place), ("good", 2 + place), ("spot", 4 + place)):
            expected = [record for record in plain.test if record.label == label][end]
            np.testing.assert_array_equal(rows[row][1][0], read_image(expected.image))


def test_photo_map_and_mask_stand_side_by_side(plain: Dataset, tmp_path):
    records = tuple(record for record in plain.test if record.label == "bar")[:2]
    write_gallery(tmp_path / GALLERY, maps_of(records, heat=1.0))
    for record, (_, pictures) in zip(records, read_gallery(tmp_path / GALLERY), strict=True):
        photo, hot, drawn = pictures
        assert len(pictures) == len(HEADS)
        mask = read_mask(record.mask)
        np.testing.assert_array_equal(drawn, np.repeat(mask[..., None], 3, axis=2) * np.uint8(255))
        np.testing.assert_array_equal(hot[~mask], photo[~mask])
        assert (hot[mask] != photo[mask]).any(axis=-1).all()


def test_with_normal_looks_the_photos_are_those_asked_for(plain: Dataset, tmp_path):
    maps = maps_of(plain.test)
    looks = {n: np.full((SIZE, SIZE, 3), 10 * n, np.uint8) for n in (4, 1)}
    write_gallery(tmp_path / GALLERY, maps, looks)
    rows = read_gallery(tmp_path / GALLERY)
    assert [name for name, _ in rows] == [maps.labels[4], maps.labels[1]]
    for number, (_, pictures) in zip((4, 1), rows, strict=True):
        assert len(pictures) == len(LOOK_HEADS)
        np.testing.assert_array_equal(pictures[0], read_image(plain.test[number].image))
        np.testing.assert_array_equal(pictures[1], looks[number])


def test_one_photo_of_a_label_is_shown_once(plain: Dataset, tmp_path):
    records = tuple(record for record in plain.test if record.label == "spot")[:1]
    write_gallery(tmp_path / GALLERY, maps_of(records))
    assert Counter(name for name, _ in read_gallery(tmp_path / GALLERY)) == {"spot": 1}


@pytest.fixture
def made(tmp_path: Path) -> list[Record]:
    """Three dark pairs of each of two types."""
    found = []
    mask = np.zeros((200, 160), np.bool_)
    mask[90:100, 20:40] = True
    for label in ("bar", "spot"):
        for index in range(3):
            photo = np.full((200, 160, 3), 30 * index + 20, np.uint8)
            found.append(write_sample(tmp_path, label, f"{index}", photo, mask, split="train"))
    return found


def test_real_defects_stand_beside_generated_ones_first_and_last_of_each_type(plain: Dataset, made):
    gallery = pairs_gallery("tile", plain.defects, made)
    assert gallery.title == "tile: what is generated"
    assert [label for label, _ in gallery.rows] == ["bar", "spot"]
    for _, pictures in gallery.rows:
        assert len(pictures) == len(gallery.heads) == 4
        assert [int(np.median(picture)) for picture in pictures[2:]] == [20, 80]
        for picture in pictures:
            assert (picture == OUTLINE).all(axis=2).any()
        assert {picture.shape for picture in pictures[2:]} == {(128, 128, 3)}


def test_a_type_of_which_there_are_not_two_of_both_kinds_is_left_out(plain: Dataset, made):
    bars = [record for record in made if record.label == "bar"]
    assert [label for label, _ in pairs_gallery("tile", plain.defects, bars).rows] == ["bar"]
    few = [record for record in plain.defects if record.label == "spot"][:1]
    assert not pairs_gallery("tile", few, made).rows
