from __future__ import annotations

import numpy as np
import pytest

from blemish.data import write_png, write_sample
from blemish.errors import DatasetError, ImageError
from blemish.generation import goods as module
from blemish.generation.exemplars import Exemplar
from blemish.generation.goods import Goods, refuse_misfit
from blemish.generation.masks import Template
from blemish.records import Record
from blemish.synthesis import draw_good, foreground


def flat(level, height=20, width=30):
    return np.full((height, width, 3), level, np.uint8)


def spot(height=20, width=30):
    mask = np.zeros((height, width), np.bool_)
    mask[8:12, 10:20] = True
    return mask


def template(mask):
    return Template(mask, np.ones_like(mask))


class Drawn:
    """A stream that draws what it was told to, and remembers what it was asked for."""

    def __init__(self, *numbers):
        self.numbers, self.asked = np.array(numbers), []

    def integers(self, high, size):
        self.asked.append((high, size))
        return self.numbers[:size]


@pytest.fixture
def shelf(tmp_path):
    """Goods of eight photos, each 20 grey levels brighter than the one before."""
    records = [
        write_sample(tmp_path, "good", str(index), flat(40 + 20 * index), split="train")
        for index in range(8)
    ]
    return Goods(records, "texture")


def test_defects_are_painted_on_good_training_photos_alone(tmp_path):
    defect = Record(tmp_path / "1.png", "dent", "train", tmp_path / "1_mask.png")
    for records, what in (
        ([], "there are none"),
        ([defect], "shows a dent"),
        ([Record(tmp_path / "2.png", split="test")], "test split"),
    ):
        with pytest.raises(DatasetError, match=what):
            Goods(records, "object")


def test_a_photo_is_opened_when_it_is_first_needed_and_only_then(shelf, monkeypatch):
    opened = []

    def spy(record):
        opened.append(record)
        return read(record)

    read = module.read_sample
    monkeypatch.setattr(module, "read_sample", spy)
    for _ in range(2):
        np.testing.assert_array_equal(shelf.photo(3), flat(100))
    shelf.product(3)
    assert opened == [shelf.records[3]]


def test_of_the_photos_that_are_tried_the_one_in_the_most_similar_light_is_taken(shelf):
    for level, expected in ((45, 2), (200, 5), (110, 5), (85, 2)):
        exemplar = Exemplar(flat(level), template(spot()), "dent")
        assert shelf.like(exemplar, exemplar.template, 12, Drawn(5, 2)) == expected


def test_at_most_a_quarter_of_the_photos_is_tried_so_that_none_is_always_taken(shelf):
    exemplar = Exemplar(flat(60), template(spot()), "dent")
    stream = Drawn(5, 2, 0)
    for tried in (12, 2, 1):
        shelf.like(exemplar, exemplar.template, tried, stream)
    assert stream.asked == [(8, 12)] * 3
    few = Goods(shelf.records[:3], "texture")
    few.like(exemplar, exemplar.template, 12, stream := Drawn(1))
    assert stream.asked == [(3, 12)]


def test_where_one_is_tried_any_light_is_as_likely_as_among_the_good_photos(shelf):
    exemplar = Exemplar(flat(45), template(spot()), "dent")
    for first in range(8):
        assert shelf.like(exemplar, exemplar.template, 1, Drawn(first, 2, 0)) == first


def test_every_photo_has_its_turn(shelf):
    exemplar = Exemplar(flat(60), template(spot()), "dent")
    rng = np.random.default_rng(0)
    taken = {shelf.like(exemplar, exemplar.template, 12, rng) for _ in range(400)}
    assert taken == set(range(8))


def test_a_mask_from_side_to_side_goes_on_a_photo_of_similar_length_whatever_its_light(tmp_path):
    levels, widths = (60, 100, 140, 180), (90, 30, 90, 30)
    records = [
        write_sample(tmp_path, "good", str(index), flat(level, width=width), split="train")
        for index, (level, width) in enumerate(zip(levels, widths, strict=True))
    ]
    crack = np.zeros((20, 30), np.bool_)
    crack[8:12] = True
    exemplar = Exemplar(flat(60), template(crack), "crack")
    shelf = Goods([*records, *records], "texture")
    assert shelf.like(exemplar, exemplar.template, 12, Drawn(0, 3)) == 3
    assert shelf.like(exemplar, template(spot()), 12, Drawn(0, 3)) == 0
    assert shelf.like(exemplar, exemplar.template, 12, Drawn(2, 0)) == 0
    assert shelf.like(exemplar, exemplar.template, 1, Drawn(0, 2, 3, 1)) == 3


def test_a_surface_is_product_all_over_and_an_object_where_it_stands_out(tmp_path):
    photo = draw_good("nut", 96, np.random.default_rng(0))
    record = write_sample(tmp_path, "good", "1", photo, split="train")
    assert Goods([record], "texture").product(0).all()
    found = Goods([record], "object").product(0)
    np.testing.assert_array_equal(found, foreground(photo))
    assert 0 < found.sum() < found.size


def test_a_photo_that_is_only_chosen_is_not_opened(shelf, monkeypatch):
    monkeypatch.setattr(module, "read_sample", lambda record: pytest.fail(f"{record} was opened"))
    exemplar = Exemplar(flat(45), template(spot()), "dent")
    assert shelf.like(exemplar, exemplar.template, 1, Drawn(5, 2, 0)) == 5
    crack = np.zeros((20, 30), np.bool_)
    crack[8:12] = True
    assert shelf.like(exemplar, template(crack), 1, Drawn(3, 2, 0)) == 3


def test_a_region_that_does_not_fit_all_photos_is_refused_with_the_name_of_one(tmp_path, shelf):
    odd = write_sample(tmp_path, "good", "odd", flat(90, height=16), split="train")
    mixed = Goods([*shelf.records, odd], "texture")
    region = tmp_path / "region.png"
    write_png(region, spot())
    for area in (region, [(0, 0), (30, 0), (30, 20)]):
        refuse_misfit(area, shelf)
        with pytest.raises(ImageError, match=r"does not fit 1 of 9 .*odd.png has 30x16"):
            refuse_misfit(area, mixed)
    refuse_misfit(None, mixed)
    refuse_misfit([(0, 0), (30, 0), (30, 16)], mixed)
