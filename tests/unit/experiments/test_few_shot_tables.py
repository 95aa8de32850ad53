from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from blemish.experiments.few_shot_tables import (
    LOCALISATION,
    average_table,
    classification_averages,
    classification_table,
    detectors_table,
    gain_table,
    localisation_table,
    papers_protocol_table,
    printed_rows,
    type_table,
)
from blemish.experiments.printed import MATCHED
from blemish.experiments.reported import reported
from blemish.experiments.runs import Redrawn, Runs
from blemish.experiments.tables import Experiment, Table, markdown

KEYS = [column.key for column in LOCALISATION]


def result(**sections: dict) -> dict:
    return {"figures": {}, "per_type": {}} | sections


def every(value: float | None) -> dict[str, float | None]:
    return dict.fromkeys(KEYS, value)


def cells(table: Table) -> dict[str, list[str]]:
    """Return the rows of the table as Markdown shows them, without marks, by their first cell."""
    lines = markdown(Experiment("t", "l", [table])).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    for mark in ("**", "<ins>", "</ins>"):
        rows = [[cell.replace(mark, "") for cell in row] for row in rows]
    return {row[0].replace("\\", ""): row[1:] for row in rows}


def test_a_row_has_the_means_over_the_seeds_and_the_intervals_of_two_columns(made_runs):
    runs = made_runs({"real": [0.03, 0.05], "generated+real": [0.5, 0.5]})
    drawn = Redrawn(runs, repeats=50)
    table = localisation_table("tile", runs, drawn)
    assert table.title == "tile: localisation and detection"
    assert "Mean of 2 seeds, which share one generator and one set of pairs;" in table.caption
    found = cells(table)
    assert list(found) == ["trained on", "---", "real", "generated+real"]
    assert found["generated+real"][1].split()[0] == "1.000"
    for column, text in zip(LOCALISATION, found["real"], strict=True):
        first, second = (one["figures"][column.key] for one in runs["real"].results)
        assert text.split()[0] == f"{(first + second) / 2:.3f}"
        assert ("[" in text) == (column.key in ("pixel_ap", "image_auroc"))


def test_one_seed_is_called_one_and_what_is_undefined_is_a_dash(made_runs):
    runs = made_runs({"real": [0.05]})
    runs["real"].results[0]["figures"]["pixel_ap"] = None
    table = localisation_table("tile", runs, Redrawn(runs, repeats=10))
    assert "Mean of 1 seed;" in table.caption
    assert cells(table)["real"][KEYS.index("pixel_ap")] == "–"


def test_gains_are_what_generated_plus_real_has_over_each_other_method(made_runs):
    skills = {"real": [0.03], "draem": [0.5], "generated+real": [0.06]}
    runs = made_runs(skills)
    drawn = Redrawn(runs, repeats=100)
    table = gain_table("tile", runs, drawn)
    assert [row.name for row in table.rows] == ["over real", "over draem"]
    assert [column.key for column in table.columns] == ["pixel_ap", "image_auroc"]
    for row, method in zip(table.rows, ("real", "draem"), strict=True):
        for column in table.columns:
            best, other = (runs[m].mean(column.key) for m in ("generated+real", method))
            figure = row.figure(column.key)
            assert figure.value == pytest.approx(best - other)
            assert figure.low <= figure.value <= figure.high
    assert table.rows[0].figure("pixel_ap").low > 0 > table.rows[1].figure("pixel_ap").high
    assert gain_table("tile", {"real": runs["real"]}, drawn) is None


def test_an_undefined_figure_gains_nothing(made_runs):
    runs = made_runs({"real": [0.03], "generated+real": [0.06]})
    runs["real"].results[0]["figures"]["pixel_ap"] = None
    (row,) = gain_table("tile", runs, Redrawn(runs, repeats=10)).rows
    assert row.figure("pixel_ap").value is None
    assert row.figure("image_auroc").value is not None


def test_types_have_a_column_each():
    types = [{"bar": every(0.25), "spot": every(0.5)}, {"bar": every(0.75), "spot": every(None)}]
    runs = {"real": Runs([result(per_type=one) for one in types], [])}
    assert cells(type_table("tile", runs)) == {
        "trained on": ["bar ↑", "spot ↑"],
        "---": ["--:", "--:"],
        "real": ["0.500", "–"],
    }


def answered(bar: float, spot: float, types: tuple[str, str] = ("bar", "spot")) -> dict:
    shares = dict(zip(types, (bar, spot), strict=True))
    return {"accuracy": (bar + spot) / 2, "photos": 20, "per_type": shares}


def test_the_papers_protocol_shows_the_weights_chosen_on_the_test_photos():
    both = [result(figures=every(0.5), test_selected=every(value)) for value in (0.8, 0.9)]
    found = cells(papers_protocol_table("tile", {"real": Runs(both, [])}))
    assert found["real"] == ["0.850"] * 7


def test_accuracy_is_a_mean_over_seeds_with_wilsons_interval_of_one_test_set():
    runs = {
        "real": Runs([answered(0.6, 1.0), answered(0.8, 0.8)], []),
        "generated": Runs([answered(1.0, 1.0)], []),
    }
    table = classification_table("tile", runs)
    assert "Mean of 2 seeds, which share one generator and one set of pairs." in table.caption
    assert cells(table) == {
        "trained on": ["accuracy ↑", "bar ↑", "spot ↑"],
        "---": ["--:", "--:", "--:"],
        # Wilson 1927 for 16 and for 20 of 20, as statsmodels' proportion_confint has them
        "real": ["0.800 [0.584, 0.919]", "0.700", "0.900"],
        "generated": ["1.000 [0.839, 1.000]", "1.000", "1.000"],
    }


def test_the_papers_classifiers_stand_beside_those_of_its_products():
    types = ("hole", "print")
    table = classification_table("hazelnut", {"real": Runs([answered(0.5, 0.7, types)], [])})
    # AnomalyDiffusion, Table 4
    ours, *others = table.rows
    assert ours.figure("accuracy").value == pytest.approx(0.6)
    printed = {row.name: row.figure("accuracy").value for row in others}
    assert printed["DFMGAN"] == pytest.approx(0.8194)
    assert printed["AnomalyDiffusion"] == pytest.approx(0.8542)
    assert len(printed) == 7
    assert {row.note for row in others} == {"AnomalyDiffusion (arXiv:2312.05767), Table 4"}
    assert MATCHED in table.caption


def test_accuracies_are_averaged_over_products_and_only_of_methods_that_all_have():
    nuts, metal = ("hole", "print"), ("bent", "flip")
    found = {
        "hazelnut": {
            "real": Runs([answered(0.5, 0.7, nuts)], []),
            "generated": Runs([answered(0.1, 0.1, nuts)], []),
        },
        "metal_nut": {"real": Runs([answered(0.1, 0.3, metal), answered(0.3, 0.5, metal)], [])},
    }
    table = classification_averages(found, "All", "weights/imagenet.pth")
    ours, *others = table.rows
    assert (ours.name, ours.figure("accuracy").value) == ("real", pytest.approx((0.6 + 0.3) / 2))
    printed = {row.name: row for row in others}
    # AnomalyDiffusion, Table 4: 81.94 and 64.58; 85.42 and 59.38
    assert printed["DFMGAN"].figure("accuracy").value == pytest.approx(0.7326)
    assert printed["AnomalyDiffusion"].figure("accuracy").value == pytest.approx(0.724)
    assert {row.origin for row in others} == {"averaged"}
    assert table.caption.startswith("Mean over the products. A ResNet-34, from imagenet.pth, trained")


def test_the_papers_mean_accuracy_stands_beside_all_its_products():
    names = reported("anomalydiffusion-4").rows
    found = {name: {"real": Runs([{"accuracy": 0.5, "per_type": {}}], [])} for name in names}
    rows = {row.name: row for row in classification_averages(found, "All").rows}
    own = rows["AnomalyDiffusion, printed average"]
    assert own.figure("accuracy").value == pytest.approx(0.6609)
    assert own.note.endswith("The caption says ResNet-18, the text ResNet-34")


def groups(*products: str) -> dict[str, dict[str, Runs]]:
    return {
        product: {"real": Runs([result(figures=every(0.2 + 0.4 * place))], [Path()])}
        for place, product in enumerate(products)
    }


def test_an_average_is_over_the_products_and_only_of_methods_that_all_have():
    found = groups("bolt", "nut")
    found["nut"]["draem"] = found["nut"]["real"]
    found["bolt"]["odd"] = Runs([result(figures=every(None))], [])
    found["nut"]["odd"] = found["nut"]["real"]
    rows = cells(average_table(found, "All"))
    assert rows["real"] == ["0.400"] * 7
    assert rows["draem"] == rows["odd"] == ["–"] * 7
    assert len(rows) == 5


@pytest.mark.parametrize("names", [["nut"], ["bottle", "nut"], ["Bottle"]])
def test_nothing_is_printed_beside_products_that_are_not_mvtecs(names):
    found = groups(*names)
    assert printed_rows(found) == []
    assert detectors_table(found, "t") is None
    table = average_table(found, "All")
    assert all(row.origin == "measured" for row in table.rows)
    assert table.caption == "Mean over the products."


def test_nothing_is_printed_beside_a_product_with_other_defects_than_mvtecs_of_its_name(made_runs):
    runs = made_runs({"real": [0.05]})
    runs["real"].results[0]["test_selected"] = every(0.5)
    tables = [localisation_table("tile", runs, Redrawn(runs, repeats=9))]
    tables += [papers_protocol_table("tile", runs), average_table({"tile": runs}, "All")]
    assert not any(row.quoted for table in tables for row in table.rows)
    assert not any(MATCHED in table.caption for table in tables)


def test_a_product_of_mvtec_has_the_papers_localisers_beside_its_own(made_runs):
    runs = made_runs({"real": [0.05]})
    runs["real"].results[0] |= {"per_type": {"oil": every(0.5)}, "test_selected": every(0.5)}
    tables = [localisation_table("tile", runs, Redrawn(runs, repeats=9))]
    tables.append(papers_protocol_table("tile", runs))
    for table in tables:
        names = ["real", "Crop&Paste", "DRAEM", "PRN", "DFMGAN", "AnomalyDiffusion"]
        assert [row.name for row in table.rows] == names
        # AnomalyDiffusion, Tables 10 and 11, tile
        assert table.rows[-1].figure("pixel_ap").value == pytest.approx(0.939)
        assert table.rows[2].figure("pro").value == pytest.approx(0.953)
        assert MATCHED in table.caption


def test_printed_figures_are_the_papers_means_over_the_products_at_hand():
    pixels, images = reported("anomalydiffusion-10"), reported("anomalydiffusion-11")
    names = ["bottle", "cable", "screw"]
    found = groups(*names)
    rows = {row.name: row for row in printed_rows(found)}
    assert set(rows) == {"Crop&Paste", "DRAEM", "PRN", "DFMGAN", "AnomalyDiffusion"}
    for method, row in rows.items():
        assert (row.origin, row.note) == ("averaged", f"{pixels.source}; {images.source}")
        for key in KEYS:
            table = images if key.startswith("image") else pixels
            expected = fmean(table.rows[name][f"{method}/{key}"] for name in names)
            assert row.figure(key).value == pytest.approx(expected / 100)
    text = cells(average_table(found, "All"))
    one = f"_{rows['DRAEM'].figure('pro').value:.3f}_"
    assert text["_DRAEM_ §"][KEYS.index("pro")] == one


def test_one_product_of_mvtec_has_the_figures_of_its_own_row():
    rows = printed_rows(groups("bottle"))
    row = next(row for row in rows if row.name == "AnomalyDiffusion")
    # AnomalyDiffusion, Tables 10 and 11, bottle
    expected = {"pixel_auroc": 99.4, "pixel_ap": 94.1, "pixel_f1_max": 87.3, "pro": 94.3}
    expected |= {"image_auroc": 99.8, "image_ap": 99.9, "image_f1_max": 98.9}
    found = {key: 100 * figure.value for key, figure in row.figures.items()}
    assert found == pytest.approx(expected)
    assert row.origin == "printed"


def test_all_of_mvtec_has_the_means_of_the_papers_rows_and_the_averages_that_it_prints():
    found = groups(*reported("anomalydiffusion-10").rows)
    rows = {row.name: row for row in average_table(found, "All").rows}
    mean, own = rows["AnomalyDiffusion"], rows["AnomalyDiffusion, printed average"]
    assert (mean.origin, own.origin) == ("averaged", "printed")
    assert mean.figure("pixel_ap").value == pytest.approx(0.8223, abs=5e-5)
    # AnomalyDiffusion, Tables 10 and 11, last line
    assert own.figure("pixel_ap").value == pytest.approx(0.814)
    assert own.figure("image_auroc").value == pytest.approx(0.992)
    assert "Table 10: The printed averages leave out bottle; Anomaly" in own.note
    assert own.note.endswith("Table 11")


def test_detectors_of_the_paper_have_a_table_of_their_own():
    table = detectors_table(groups("bottle", "cable"), "Detectors")
    rows = {row.name: row for row in table.rows}
    # AnomalyDiffusion, Tables 5 and 12, bottle and cable
    core = {key: rows["PatchCore"].figure(key).value for key in ("pixel_auroc", "pixel_ap")}
    assert core == pytest.approx({"pixel_auroc": 0.972, "pixel_ap": 0.7045})
    assert rows["PatchCore"].figure("pixel_f1_max").value == pytest.approx(0.7355)
    assert rows["PRN"].figure("pixel_f1_max").value is None
    assert all(row.origin == "averaged" for row in table.rows)
    assert [column.key for column in table.columns] == ["pixel_auroc", "pixel_ap", "pixel_f1_max"]
    whole = detectors_table(groups(*reported("anomalydiffusion-5").rows), "Detectors")
    own = next(row for row in whole.rows if row.name == "DevNet, printed average")
    assert own.figure("pixel_auroc").value == pytest.approx(0.864)
