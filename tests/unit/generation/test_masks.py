import numpy as np
import pytest

from blemish.data import write_png
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


def test_a_given_mask_has_the_product_of_photos_of_its_size_and_fills_the_frame_elsewhere(tmp_path):
    masks = box((40, 60), 5, 5, 4, 4), box((30, 30), 9, 9, 3, 3)
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for file, mask in zip(files, masks, strict=True):
        write_png(file, mask)
    product = box((40, 60), 2, 2, 30, 30)
    templates = read_templates(files, {(40, 60): product})
    for template, mask, file in zip(templates, masks, files, strict=True):
        np.testing.assert_array_equal(template.mask, mask)
        assert template.source == str(file)
    np.testing.assert_array_equal(templates[0].product, product)
    assert templates[1].product.all()


def test_no_mask_at_all_and_an_empty_one_are_refused_with_advice(tmp_path):
    write_png(tmp_path / "empty.png", np.zeros((4, 4), np.bool_))
    for files in ([], [tmp_path / "empty.png"]):
        with pytest.raises(DatasetError) as caught:
            read_templates(files)
        assert caught.value.hint


def test_crumbs_are_removed_and_small_parts_are_kept():
    mask = box((40, 60), 2, 2, 20, 20) | box((40, 60), 30, 30, 3, 3) | box((40, 60), 38, 58, 1, 2)
    assert (cleaned(mask) == (mask & ~box((40, 60), 38, 58, 1, 2))).all()
    assert not cleaned(np.zeros((4, 4), np.bool_)).any()
