from pathlib import Path

import numpy as np
import pytest

from blemish.data import write_png, write_sample
from blemish.errors import DatasetError
from blemish.generation.masks import Template, cleaned, largest_extent, read_templates
from handmade import box

WHOLE = np.ones((40, 60), np.bool_)


def test_a_template_knows_its_centre_reach_and_share_of_the_product():
    template = Template(box((40, 60), 10, 20, 5, 11), WHOLE)
    assert template.centre.tolist() == [12, 25]
    assert template.reach.tolist() == [2, 5]
    assert template.extent.tolist() == [5 / 40, 11 / 60]
    assert template.sides == ()


def test_the_sides_of_a_mask_are_those_that_cut_it_off():
    assert Template(box((40, 60), 0, 3, 5, 5), WHOLE).sides == ((0, -1),)
    assert Template(box((40, 60), 30, 0, 10, 60), WHOLE).sides == ((0, 1), (1, -1), (1, 1))


def test_a_mask_reaches_the_edge_of_a_product_but_not_that_of_a_surface():
    product = box((40, 60), 10, 10, 20, 30)
    assert not Template(box((40, 60), 15, 20, 4, 4), product).at_edge
    assert Template(box((40, 60), 15, 10, 4, 4), product).at_edge
    # A bite out of the product is not seen as product any more, and still lies at its edge.
    bite = box((40, 60), 15, 10, 6, 8)
    assert Template(bite, product & ~bite).at_edge
    assert not Template(box((40, 60), 0, 0, 4, 4), WHOLE).at_edge


def test_the_largest_extent_is_taken_axis_by_axis():
    tall, wide = box((40, 60), 0, 0, 20, 6), box((40, 60), 0, 0, 4, 30)
    extent = largest_extent([Template(tall, WHOLE), Template(wide, WHOLE)])
    assert extent.tolist() == [0.5, 0.5]


def test_an_empty_mask_is_no_template():
    with pytest.raises(DatasetError, match="empty"):
        Template(np.zeros((40, 60), np.bool_), WHOLE)
    with pytest.raises(DatasetError, match="differ in size"):
        Template(WHOLE, WHOLE[1:])


def test_templates_are_read_from_defect_photos_and_from_masks_alone(tmp_path):
    photo = np.full((40, 60, 3), 90, np.uint8)
    first, second = box((40, 60), 5, 5, 4, 4), box((30, 30), 9, 9, 3, 3)
    record = write_sample(tmp_path, "dent", "0", photo, first)
    write_png(tmp_path / "given.png", second)
    templates = read_templates([record], "texture", [tmp_path / "given.png"])
    assert [Path(template.source).name for template in templates] == ["0_mask.png", "given.png"]
    np.testing.assert_array_equal(templates[0].mask, first)
    np.testing.assert_array_equal(templates[1].mask, second)
    assert templates[1].product.all()


def test_the_product_of_an_object_is_found_in_the_photo_of_its_defect(tmp_path):
    photo = np.full((60, 60, 3), 20, np.uint8)
    photo[15:45, 15:45] = 200
    record = write_sample(tmp_path, "dent", "0", photo, box((60, 60), 20, 20, 4, 4))
    (template,) = read_templates([record], "object")
    assert 0.2 < template.product.mean() < 0.35


def test_a_type_without_masks_is_refused_with_advice(tmp_path):
    record = write_sample(tmp_path, "dent", "0", np.full((40, 60, 3), 90, np.uint8))
    for records in ([record], []):
        with pytest.raises(DatasetError) as caught:
            read_templates(records)
        assert caught.value.hint


def test_crumbs_are_removed_and_small_parts_are_kept():
    mask = box((40, 60), 2, 2, 20, 20) | box((40, 60), 30, 30, 3, 3) | box((40, 60), 38, 58, 1, 2)
    assert (cleaned(mask) == (mask & ~box((40, 60), 38, 58, 1, 2))).all()
    assert not cleaned(np.zeros((4, 4), np.bool_)).any()
