from __future__ import annotations

import pytest

from blemish.experiments.printed import (
    MATCHED,
    captioned,
    printed_averages,
    printed_rows,
    products_of,
    whole_tables,
)
from blemish.experiments.reported import reported
from blemish.experiments.runs import Runs
from blemish.experiments.tables import Figure, Row


def test_the_types_of_a_product_are_those_that_its_methods_were_judged_on():
    runs = {"real": Runs([{"per_type": {"oil": {}, "crack": {}}}], [])}
    assert products_of({"tile": runs}) == {"tile": {"oil", "crack"}}


def test_a_row_holds_all_that_is_printed_of_a_method_with_its_sources():
    rows = printed_rows({"tile": ["oil"]}, ["diffusionad-5", "diffusionad-6", "diffusionad-1"])
    row = next(row for row in rows if row.name == "SimpleNet")
    # DiffusionAD, Tables 5 and 6, tile
    expected = {"image_auroc": 0.997, "pixel_auroc": 0.966, "pro": 0.874, "pixel_ap": 0.288}
    assert {key: figure.value for key, figure in row.figures.items()} == pytest.approx(expected)
    source = "DiffusionAD (arXiv:2303.08730), Table"
    assert (row.origin, row.note) == ("printed", f"{source} 5; {source} 6")


def test_several_products_have_the_mean_of_what_is_printed_and_are_called_that():
    rows = printed_rows({"tile": ["oil"], "wood": ["hole"]}, ["anomalydiffusion-1"])
    row = next(row for row in rows if row.name == "SDGAN")
    # AnomalyDiffusion, Table 1, tile and wood: not shares, and so not divided
    assert row.figure("inception_score").value == pytest.approx((2.53 + 2.12) / 2)
    assert row.figure("ic_lpips").value == pytest.approx((0.21 + 0.25) / 2)
    assert row.origin == "averaged"


def test_a_table_without_one_of_the_products_is_left_out():
    both = {"tile": ["oil"], "toothbrush": ["defective"]}
    assert printed_rows(both, ["anomalydiffusion-4"]) == []
    assert printed_rows({}, ["anomalydiffusion-4"]) == []


def test_averages_that_a_table_prints_are_shown_with_its_note_beside_all_its_products():
    names = ["anomalydiffusion-2", "anomalydiffusion-3", "diffusionad-1"]
    every = dict.fromkeys(reported("anomalydiffusion-2").rows, ())
    rows = printed_averages(every, names)
    assert [row.name for row in rows][-1] == "AnomalyDiffusion, printed average"
    # AnomalyDiffusion, Tables 2 and 3, last line
    assert rows[-1].figure("pixel_ap").value == pytest.approx(0.814)
    assert rows[-1].figure("image_ap").value == pytest.approx(0.997)
    assert "Table 2: The printed averages leave out bottle; AnomalyDiffusion" in rows[-1].note
    assert [table.benchmark for table in whole_tables(every, names)] == ["mvtec", "mvtec"]
    del every["bottle"]
    assert printed_averages(every, names) == []


def test_a_caption_tells_of_printed_rows_where_there_are_any():
    own, printed = Row("a", {}), Row("b", {"x": Figure(1)}, "averaged")
    assert captioned("Words.", [own]) == "Words."
    assert captioned("Words.", [own, printed]) == f"Words. {MATCHED}"
