from __future__ import annotations

from pathlib import Path

import pytest

from blemish.data.listing import natural_key, path_inside, path_key
from blemish.errors import DatasetError


def test_numbers_in_names_count_as_numbers():
    names = ["10.png", "9.png", "a10b2.png", "a2b10.png", "a2b9.png", "B1.png", "2024-1.png"]
    expected = ["9.png", "10.png", "2024-1.png", "a2b9.png", "a2b10.png", "a10b2.png", "B1.png"]
    assert sorted(names, key=natural_key) == expected


def test_the_order_is_total_even_where_numbers_are_equal():
    names = ["1.png", "01.png", "001.png", "é1", "e\u03011"]
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_paths_are_ordered_folder_by_folder():
    paths = [Path("b/1"), Path("a10/1"), Path("a2/3"), Path("a2/b/1")]
    assert sorted(paths, key=path_key) == [paths[2], paths[3], paths[1], paths[0]]


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "", None, 3, "a\0b"])
@pytest.mark.parametrize("links", [True, False])
def test_a_path_that_leaves_the_dataset_is_refused(tmp_path, name, links):
    with pytest.raises(DatasetError) as caught:
        path_inside(tmp_path, name, "image", links=links)
    assert caught.value.hint


def test_a_root_may_be_the_folder_that_one_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_inside(Path(), "a/../x.png", "image", links=False) == Path("a/../x.png")
    with pytest.raises(DatasetError, match="leaves the dataset"):
        path_inside(Path(), "../x.png", "image", links=False)


def test_a_link_that_leaves_the_dataset_is_refused(tmp_path):
    (tmp_path / "out").symlink_to("/")
    with pytest.raises(DatasetError, match="leaves the dataset"):
        path_inside(tmp_path, "out/x.png", "image")
    assert path_inside(tmp_path, "out/x.png", "image", links=False) == tmp_path / "out/x.png"
