from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blemish.data import Dataset, read_sample, write_sample
from blemish.experiments.few_shot import Product
from blemish.experiments.fidelity import (
    fidelity_averages,
    fidelity_cells,
    fidelity_table,
    merged,
)
from blemish.experiments.generation_quality import judge
from blemish.experiments.grid import run_grid
from blemish.experiments.protocol import FewShot
from blemish.records import Record, by_label
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
        cells = fidelity_cells(product, 100, None, None)
        found.append(merged(run_grid(cells, tmp_path / f"{place}", ["cpu"])))
    assert found[0] == found[1]
    assert found[1]["mean"]["generated"]["kid"] is not None
    assert found[1]["mean"]["generated"]["separability"] is not None


def test_each_source_is_judged_once_and_as_beside_the_others(plain: Dataset, tmp_path: Path):
    split = FewShot.of(plain)
    sources = {"real": split.few, "generated": split.few[1:]}
    one = Product("tile", split, "texture", (), sources)
    more = replace(one, sources={**sources, "pasted": split.few[:-1]})
    first = merged(run_grid(fidelity_cells(one, 100, None, None), tmp_path, ["cpu"]))
    written = {path: path.read_bytes() for path in tmp_path.rglob("result.json")}
    assert len(written) == 2
    both = merged(run_grid(fidelity_cells(more, 100, None, None), tmp_path, ["cpu"]))
    assert all(path.read_bytes() == content for path, content in written.items())
    assert list(both["mean"]) == ["generated", "pasted", "read_real"]

    def pairs(records: Sequence[Record]) -> dict[str, list[Any]]:
        samples = {label: map(read_sample, group) for label, group in by_label(records).items()}
        return {label: [(s.image, s.mask) for s in group] for label, group in samples.items()}

    together = judge(
        [read_sample(record) for record in split.rest],
        [read_sample(record) for record in split.few],
        {name: pairs(more.sources[name]) for name in ("generated", "pasted")},
    )
    assert both == together
    assert first["mean"]["generated"] == together["mean"]["generated"]


def found(score: float, pairs: int | None, *, types: tuple[str, ...] = ("oil",), **more: float) -> dict:
    """Return a result of a source of so many pairs of each type, with Inception and LPIPS."""
    figures = {"inception_score": score, "inception_deviation": 0.25, "ic_lpips_whole": 0.5, **more}
    result = {
        "features": "InceptionV3",
        "types": dict.fromkeys(types),
        "mean": {"generated": figures, "read_real": {"kid": 0.5, "inception_score": 1.1}},
    }
    if pairs is not None:
        counts = {"generated": dict.fromkeys(types, pairs), "read_real": dict.fromkeys(types, 12)}
        result["pictures"] = counts
    return result


def test_an_inception_score_has_its_deviation_and_the_number_of_pictures_beside_it():
    table = fidelity_table("bolt", found(2.5, 100))
    shown = {column.key: column for column in table.columns}
    assert shown["inception_deviation"].better == "none"
    assert table.rows[0].figure("inception_deviation").value == 0.25
    assert "a mean over 10 splits of a type's pictures, 10 or more in each." in table.caption
    assert "left out" not in table.caption  # a bolt is not the paper's
    assert set(table.rows[1].figures) == {"kid"}  # the read ones are too few


@pytest.mark.parametrize(
    ("pairs", "words", "told"),
    [
        (500, "50 or more in each", True),
        (499, "49 or more in each", False),
        (9, "whose number was not noted", False),
        (None, "whose number was not noted", False),
    ],
)
def test_printed_inception_scores_stand_beside_those_of_enough_pictures_only(pairs, words, told):
    table = fidelity_table("tile", found(2.5, pairs))
    row = next(row for row in table.rows if row.name == "AnomalyDiffusion")
    assert row.figure("inception_score").value == (2.54 if told else None)  # Table 1, tile
    assert row.figure("ic_lpips_whole").value == 0.55
    assert words in table.caption
    assert ("left out where a split has fewer than 50" in table.caption) != told


def test_a_printed_row_of_which_nothing_is_left_is_not_shown():
    result = found(2.5, 100)
    del result["mean"]["generated"]["ic_lpips_whole"]
    table = fidelity_table("tile", result)
    assert not any(row.quoted for row in table.rows)
    assert "left out where a split has fewer than 50" in table.caption


def test_without_inception_nothing_is_said_of_it():
    result = found(2.5, 100)
    for figures in result["mean"].values():
        figures.pop("inception_score")
        figures.pop("inception_deviation", None)
    table = fidelity_table("tile", result)
    assert "Inception Score" not in table.caption
    assert [column.key for column in table.columns] == ["kid", "ic_lpips_whole"]


def test_nothing_is_printed_beside_a_product_of_other_defects():
    table = fidelity_table("tile", found(2.5, 1000, types=("chip",)))
    assert not any(row.quoted for row in table.rows)


def test_means_over_products_are_of_sources_that_all_have_and_stand_beside_the_papers():
    tile, wood = found(2.0, 1000, kid=0.5), found(3.0, 600, types=("hole",), kid=0.7)
    tile["mean"]["pasted"] = {"kid": 0.1}
    wood["mean"]["generated"]["kid"] = None
    table = fidelity_averages({"tile": tile, "wood": wood}, "All products")
    ours, read, *others = table.rows
    assert [ours.name, read.name] == ["generated", "real ones that were read"]
    assert ours.figure("inception_score").value == 2.5
    assert ours.figure("kid").value is None
    assert read.figure("kid").value == 0.5
    assert "Mean over the products. Against" in table.caption
    assert "60 or more in each" in table.caption
    printed = {row.name: row for row in others}
    # AnomalyDiffusion, Table 1, tile and wood
    assert printed["AnomalyDiffusion"].figure("inception_score").value == pytest.approx(2.435)
    assert printed["AnomalyDiffusion"].figure("ic_lpips_whole").value == pytest.approx(0.46)
    assert printed["AnomalyDiffusion"].origin == "averaged"
