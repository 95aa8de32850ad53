from __future__ import annotations

import numpy as np
import pytest

from blemish.data.readers import read_dataset, read_sample
from blemish.data.writers import append_manifest, write_sample
from blemish.errors import DatasetError

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
MASK = RNG.random((9, 14)) < 0.4


def write_all(root, *, synthetic):
    return [
        write_sample(root, "good", "1", PHOTO, split="train"),
        write_sample(root, "good", "1", PHOTO),
        write_sample(root, "kratzer ß", "1", PHOTO, MASK),
        write_sample(root, "dent", "1.5 mm", PHOTO, MASK, split="train", synthetic=synthetic),
    ]


def by_path(records):
    return sorted(records, key=lambda record: record.image)


def test_written_samples_read_back_as_the_same_records_and_pixels(tmp_path):
    records = write_all(tmp_path, synthetic=False)
    dataset = read_dataset(tmp_path)
    assert by_path(dataset.records) == by_path(records)
    for record in dataset.records:
        sample = read_sample(record)
        np.testing.assert_array_equal(sample.image, PHOTO)
        np.testing.assert_array_equal(sample.mask, MASK & (not record.is_good))


def test_a_manifest_keeps_what_the_tree_cannot_say(tmp_path):
    records = write_all(tmp_path, synthetic=True)
    for record in records:
        append_manifest(tmp_path, record)
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "manifest"
    assert by_path(dataset.records) == by_path(records)


def test_a_sample_deleted_by_hand_is_gone_and_the_rest_still_reads(tmp_path):
    records = write_all(tmp_path, synthetic=True)
    for record in records:
        append_manifest(tmp_path, record)
    records[3].image.unlink()
    assert by_path(read_dataset(tmp_path).records) == by_path(records[:3])


@pytest.mark.parametrize(
    "arguments",
    [
        ("../good", "1", PHOTO),
        ("good", "a/b", PHOTO),
        ("good", "", PHOTO),
        ("good", ".hidden", PHOTO),
        ("good", "1_mask", PHOTO),
        ("good", "1", PHOTO, MASK),
        ("dent", "1", PHOTO, MASK[1:]),
        ("dent", "1", PHOTO, MASK.astype(np.uint8)),
    ],
)
def test_what_would_not_read_back_is_not_written(tmp_path, arguments):
    with pytest.raises(DatasetError) as caught:
        write_sample(tmp_path, *arguments)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_defect_of_one_name_in_both_splits_is_refused(tmp_path):
    write_sample(tmp_path, "dent", "1", PHOTO, MASK, split="train")
    with pytest.raises(DatasetError, match="already in the other split"):
        write_sample(tmp_path, "dent", "1", PHOTO, MASK, split="test")
