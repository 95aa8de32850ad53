from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from blemish.data import Dataset, write_sample
from blemish.experiments.few_shot import Product
from blemish.experiments.fidelity import FidelityCell
from blemish.experiments.grid import run_grid
from blemish.experiments.protocol import FewShot
from blemish.records import Record
from handmade import plain_photo


@pytest.fixture
def lone(tmp_path: Path) -> list[Record]:
    """A type with one photo, and one that is only judged."""
    found = []
    for label, split, index in (("chip", "train", 40), ("dirt", "test", 41), ("dirt", "test", 42)):
        image, mask = plain_photo("spot", index)
        found.append(write_sample(tmp_path / "lone", label, f"{index}", image, mask, split=split))
    return found


def test_a_type_that_cannot_be_both_read_and_judged_leaves_the_means_as_they_are(
    plain: Dataset, lone: list[Record], tmp_path: Path
):
    split = FewShot.of(plain)
    whole = replace(split, few=(*split.few, lone[0]), rest=(*split.rest, *lone[1:]))
    assert whole.types == split.types == ("bar", "spot")
    found = []
    for place, one in enumerate((split, whole)):
        product = Product("tile", one, "texture", (), {"real": one.few, "generated": split.few})
        (result,) = run_grid([FidelityCell(product)], tmp_path / f"{place}", ["cpu"])
        found.append(result)
    assert found[0] == found[1]
    assert found[1]["mean"]["generated"]["kid"] is not None
    assert found[1]["mean"]["generated"]["separability"] is not None
