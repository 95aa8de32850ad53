from __future__ import annotations

from pathlib import Path

import pytest

from blemish.data import check, read_dataset
from blemish.experiments import demo
from blemish.experiments.demo import draw_factory
from blemish.synthesis import DEFECTS, PRODUCTS


@pytest.fixture(autouse=True)
def few_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("TRAIN_GOOD", 10), ("FEW", 2), ("TEST_GOOD", 2), ("TEST_DEFECTS", 1)):
        monkeypatch.setattr(demo, name, count)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_each_product_is_a_dataset_with_every_one_of_its_defects(tmp_path):
    roots = draw_factory(tmp_path, size=64)
    assert [root.name for root in roots] == list(PRODUCTS)
    for root in roots:
        dataset = read_dataset(root)
        assert check(root).ok
        assert len(dataset.train) == 10
        assert set(dataset.defect_types) == set(DEFECTS[root.name])
        assert all(record.mask is not None for record in dataset.defects)
        assert len(dataset.train_defects) == 2 * len(DEFECTS[root.name])


def test_a_factory_interrupted_while_drawn_ends_like_one_drawn_at_once(tmp_path):
    draw_factory(tmp_path / "whole", size=64)
    whole = contents(tmp_path / "whole")
    draw_factory(tmp_path / "cut", size=64)
    (tmp_path / "cut" / PRODUCTS[0] / "factory.json").unlink()
    (tmp_path / "cut" / PRODUCTS[0] / "train" / "good" / "001.png").write_bytes(b"")
    draw_factory(tmp_path / "cut", size=64)
    assert contents(tmp_path / "cut") == whole


def test_a_complete_factory_is_left_as_it_is(tmp_path):
    (root, *_) = draw_factory(tmp_path, size=64)
    (root / "train" / "good" / "000.png").write_bytes(b"changed by hand")
    draw_factory(tmp_path, size=64)
    assert (root / "train" / "good" / "000.png").read_bytes() == b"changed by hand"
