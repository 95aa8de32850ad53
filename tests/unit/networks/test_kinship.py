from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from blemish.data import write_sample
from blemish.networks.kinship import clusters, families
from blemish.records import Record
from blemish.synthesis import draw_good


def test_clusters_are_what_lies_together_and_strangers_stay_alone():
    places = np.array([0.0, 0.1, 0.2, 50.0, 50.1, 50.2, 90.0])
    found = clusters(np.abs(places[:, None] - places[None]))
    assert len(set(found[:3])) == len(set(found[3:6])) == 1
    assert len(set(found)) == 3


def test_where_the_nearest_is_hardly_nearer_than_the_others_nobody_is_related():
    places = np.random.default_rng(0).standard_normal((40, 200))
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    assert len(set(clusters(apart))) == 40
    twin = np.linalg.norm(places - places[7] - 0.1, axis=1)
    both = np.block([[apart, twin[:, None]], [twin[None], np.zeros((1, 1))]])
    found = clusters(both)
    assert found[7] == found[40]
    assert len(set(found)) == 40


@pytest.fixture
def line(tmp_path) -> list[Record]:
    """Four photos of each of six parts: moved a little, and under other light."""
    rng = np.random.default_rng(0)
    for part in range(6):
        whole = draw_good("nut", 80, np.random.default_rng(part))
        for shot in range(4):
            top, left = rng.integers(0, 3, 2)
            seen = whole[top : top + 72, left : left + 72].astype(np.float64)
            lit = np.clip(seen * rng.uniform(0.9, 1.1), 0, 255).astype(np.uint8)
            write_sample(tmp_path, "good", f"{shot}_{part}", lit, split="train")
    return [
        Record(tmp_path / "train" / "good" / f"{shot}_{part}.png")
        for shot in range(4)
        for part in range(6)
    ]


def test_photos_of_one_part_are_one_family_whatever_they_are_called(line):
    numbers = families(line, 64)
    parts = [int(record.image.stem.split("_")[1]) for record in line]
    for one in range(len(line)):
        assert all(parts[one] == parts[two] for two in range(len(line)) if numbers[one] == numbers[two])
    assert len(set(numbers)) < len(line) / 2
    backwards = families(line[::-1], 64)[::-1]
    pairs = {(a, b) for a, b in zip(numbers, backwards, strict=True)}
    assert len(pairs) == len(set(numbers)) == len(set(backwards))


def test_one_photo_is_a_family_of_its_own(tmp_path):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "a.png")
    assert families([Record(tmp_path / "a.png")], 64) == [0]
