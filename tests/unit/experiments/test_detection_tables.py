from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from blemish.data import Dataset, read_dataset, read_image, write_sample
from blemish.errors import ArtifactError, BlemishError
from blemish.experiments.detection_tables import (
    CAPTION,
    COLUMNS,
    ablation_table,
    averaged,
    imported_rows,
    product_table,
)
from blemish.experiments.few_shot_tables import LOCALISATION
from blemish.experiments.printed import MATCHED
from blemish.experiments.reported import reported
from blemish.experiments.runs import Redrawn, Runs
from blemish.experiments.score_maps import PEER, map_path, scored_maps
from blemish.experiments.tables import Experiment, Figure, Row, markdown, marks
from blemish.experiments.variants import DETECTION, GENERATION
from blemish.runtime import write_json

KEYS = [column.key for column in LOCALISATION]


@pytest.fixture
def folder(tmp_path) -> Dataset:
    """A product with two good and two dented test photos."""
    mask = np.zeros((12, 16), np.bool_)
    mask[2:6, 3:9] = True
    for index in range(2):
        photo = np.full((12, 16, 3), 10 + index, np.uint8)
        write_sample(tmp_path / "bolt", "good", f"{index}", photo)
        photo[mask] = 99
        write_sample(tmp_path / "bolt", "dent", f"{index}", photo, mask)
    return read_dataset(tmp_path / "bolt")


def write_maps(dataset: Dataset, out) -> None:
    """Write the photos' red channel as the score maps of another detector."""
    for record in dataset.test:
        path = map_path(out, record)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, read_image(record.image)[..., 0].astype(np.float32))


def test_a_row_has_means_over_the_seeds_and_intervals_of_two_columns(made_runs):
    runs = made_runs({"fast": [0.04, 0.06], "slow": [0.5]})
    table = ablation_table("bolt", "noise", runs)
    assert (table.title, table.subject) == ("bolt: noise", "variant")
    drawn = Redrawn(runs)
    for row, (method, found) in zip(table.rows, runs.items(), strict=True):
        assert row.name == method
        for key in KEYS:
            figure = row.figure(key)
            assert figure.value == found.mean(key)
            known = key in ("pixel_ap", "image_auroc")
            expected = drawn.figure(method, key, figure.value).interval if known else None
            assert figure.interval == expected
    assert "| slow | **1.000** | **1.000**" in markdown(Experiment("t", "l", [table]))


def test_what_a_variant_costs_stands_beside_what_it_finds_where_it_was_measured(made_runs):
    runs = made_runs({"fast": [0.04, 0.06], "slow": [0.5]})
    plain = ablation_table("bolt", "noise", runs)
    assert not {"train_minutes", "photos_per_second", "memory_mib"} & {c.key for c in plain.columns}
    for result, speed in zip(runs["fast"].results, (30, 50), strict=True):
        result["costs"] = {"photos_per_second": speed, "memory_mib": None}
    fast, slow = (table := ablation_table("bolt", "noise", runs)).rows
    assert [c.key for c in table.columns[len(plain.columns) :]] == ["photos_per_second"]
    assert fast.figure("photos_per_second") == Figure(40)
    assert slow.figure("photos_per_second") == Figure(None)
    runs["slow"].results[0]["costs"] = {"photos_per_second": 20}
    assert marks(ablation_table("bolt", "noise", runs))[0]["photos_per_second"] == "best"


def test_an_undefined_figure_is_a_dash_without_an_interval(made_runs):
    runs = made_runs({"fast": [0.05]})
    runs["fast"].results[0]["figures"]["pixel_ap"] = None
    (row,) = ablation_table("bolt", "noise", runs).rows
    assert row.figure("pixel_ap") == Figure(None)
    assert row.figure("image_auroc").interval is not None


def test_a_product_of_its_own_has_one_table_and_nothing_printed(made_runs):
    (table,) = product_table({"my bolt": made_runs({"DiffusionAD": [0.05]})}, {})
    assert (table.title, [row.origin for row in table.rows]) == ("my bolt", ["measured"])


def test_several_products_are_averaged_and_each_method_only_over_all_of_its_own(made_runs):
    runs = made_runs({"DiffusionAD": [0.05]})
    better = made_runs({"DiffusionAD": [0.5]})
    figures = {"bolt": dict.fromkeys(KEYS, Figure(0.2)), "nut": dict.fromkeys(KEYS[1:], Figure(0.6))}
    imported = {
        name: {"PatchCore": Row("PatchCore", found, "imported")} for name, found in figures.items()
    }
    tables = product_table({"bolt": runs, "nut": better}, imported)
    assert [table.title for table in tables] == ["All products", "bolt", "nut"]
    ours, theirs = tables[0].rows
    for key in KEYS:
        both = [group["DiffusionAD"].mean(key) for group in (runs, better)]
        assert ours.figure(key).value == pytest.approx(fmean(both))
        assert theirs.figure(key).value == (None if key == KEYS[0] else pytest.approx(0.4))
    assert (ours.origin, theirs.origin) == ("measured", "imported")
    for table in tables[1:]:
        assert [row.name for row in table.rows] == ["DiffusionAD", "PatchCore"]


def test_an_ablation_of_several_products_has_the_means_of_its_common_rows_first(made_runs):
    bolt = ablation_table("bolt", "noise", made_runs({"fast": [0.05], "slow": [0.5]}))
    nut = ablation_table("nut", "noise", made_runs({"slow": [0.05]}))
    (means,) = averaged([bolt, nut])
    assert (means.title, means.subject) == ("All products", "variant")
    (slow,) = means.rows
    assert slow.name == "slow"
    for key in KEYS:
        both = [bolt.rows[1].figure(key).value, nut.rows[0].figure(key).value]
        assert slow.figure(key).value == pytest.approx(fmean(both))
    assert averaged([bolt]) == []


@pytest.mark.parametrize("variant", GENERATION)
def test_an_ablation_of_the_generator_tells_how_its_localisers_are_judged(made_runs, variant):
    tables = [ablation_table(name, variant, made_runs({"a": [0.05]})) for name in ("bolt", "nut")]
    assert tables[0].columns == LOCALISATION
    assert "A localiser trained on the pairs of each variant" in tables[0].caption
    assert "held-out pairs" in tables[0].caption
    assert "resolution" not in tables[0].caption
    (means,) = averaged(tables)
    assert tuple(means.columns) == LOCALISATION


@pytest.mark.parametrize("variant", DETECTION)
def test_an_ablation_of_the_detector_tells_how_detectors_are_judged(made_runs, variant):
    tables = [ablation_table(name, variant, made_runs({"a": [0.05]})) for name in ("bolt", "nut")]
    for table in (*tables, *averaged(tables)):
        assert tuple(table.columns) == COLUMNS
    assert tables[0].caption == CAPTION


def typed(runs: dict[str, Runs], *types: str) -> dict[str, Runs]:
    """Return runs that were judged on these types of defects."""
    return {
        method: Runs(
            [result | {"per_type": dict.fromkeys(types)} for result in found.results], found.folders
        )
        for method, found in runs.items()
    }


NUMBERS = {
    # DiffusionAD's tables of each benchmark
    "mvtec": {"image_auroc": 5, "pixel_auroc": 5, "pro": 6, "pixel_ap": 6},
    "visa": {"image_auroc": 1, "pro": 1, "pixel_auroc": 4, "pixel_ap": 4},
    "dagm": {"image_auroc": 7, "pixel_ap": 7},
    "mpdd": {"image_auroc": 8, "pro": 8},
}


@pytest.mark.parametrize(
    ("names", "label", "numbers"),
    [
        (["bottle"], "contamination", NUMBERS["mvtec"]),
        (["candle"], "anomaly", NUMBERS["visa"]),
        (["Class1"], "defect", NUMBERS["dagm"]),
        (["tubes"], "flattening", NUMBERS["mpdd"]),
        (["carpet", "hazelnut", "leather"], "cut", NUMBERS["mvtec"]),
        (["carpet", "candle"], "cut", {}),
        (["carpet", "my bolt"], "cut", {}),
        (["carpet"], "dent", {}),
        (["my bolt"], "cut", {}),
    ],
)
def test_the_paper_stands_beside_products_of_one_benchmark_with_their_mean(
    made_runs, names, label, numbers
):
    runs = typed(made_runs({"DiffusionAD": [0.05]}), label)
    whole = product_table(dict.fromkeys(names, runs), {})[0]
    origin = "printed" if len(names) == 1 else "averaged"
    printed = {row.name: row for row in whole.rows if row.origin == origin}
    assert len(printed) == len(whole.rows) - 1
    assert bool(printed) == bool(numbers) == (MATCHED in whole.caption)
    for method, row in printed.items():
        assert set(row.figures) == set(numbers)
        for key, number in numbers.items():
            table = reported(f"diffusionad-{number}")
            expected = fmean(table.rows[name][f"{method}/{key}"] for name in names)
            assert row.figure(key).value == pytest.approx(expected / 100)
            assert table.source in row.note
    assert not numbers or {"DiffusionAD", "PatchCore", "DRAEM"} <= set(printed)


@pytest.mark.parametrize(
    ("name", "label", "image_auroc", "pixel_ap", "note"),
    [
        # DiffusionAD, Table 2: RD4AD, whose rows in Table 5 have the mean 98.7
        ("diffusionad-5", "", 0.985, 0.580, "Table 5: The printed average of the image AUROC of RD4AD"),
        ("diffusionad-7", "defect", 0.958, 0.534, "Table 2"),
    ],
)
def test_the_papers_own_averages_stand_beside_whole_benchmarks(
    made_runs, name, label, image_auroc, pixel_ap, note
):
    names = list(reported(name).rows)
    runs = typed(made_runs({"DiffusionAD": [0.05]}), *([label] if label else []))
    whole = {row.name: row for row in product_table(dict.fromkeys(names, runs), {})[0].rows}
    row = whole["RD4AD, printed average"]
    assert row.origin == "printed"
    assert set(row.figures) == {"image_auroc", "pixel_auroc", "pro", "pixel_ap"}
    assert row.figure("image_auroc").value == pytest.approx(image_auroc)
    assert row.figure("pixel_ap").value == pytest.approx(pixel_ap)
    assert note in row.note
    assert whole["RD4AD"].origin == "averaged"
    less = product_table(dict.fromkeys(names[1:], runs), {})[0]
    assert not any("printed average" in row.name for row in less.rows)


def test_other_detectors_are_scored_from_their_maps_in_a_folder_for_each_product(folder, tmp_path):
    write_maps(folder, tmp_path / "patchcore" / "bolt")
    given = {"PatchCore": tmp_path / "patchcore"}
    for single in (False, True):
        found = imported_rows(folder, "bolt", given, single=single)
        row = found["PatchCore"]
        expected = scored_maps(folder.test, tmp_path / "patchcore" / "bolt", folder.root).figures()
        assert {key: figure.value for key, figure in row.figures.items()} == expected
        assert (row.name, row.origin) == ("PatchCore", "imported")


def test_an_imported_detector_tells_its_costs_in_the_words_of_its_runner(folder, tmp_path, made_runs):
    write_maps(folder, tmp_path / "flat")
    told = {
        "train_minutes": 2.5,
        "photos_per_second": {"loop": 30, "network": 40},
        "peak_memory_mib": {"process": 900.5, "card": 0},
    }
    card = tmp_path / "flat" / PEER
    write_json(card, told)
    found = imported_rows(folder, "bolt", {"PatchCore": tmp_path / "flat"}, single=True)
    runs = made_runs({"DiffusionAD": [0.05]})
    (table,) = product_table({"bolt": runs}, {"bolt": found})
    assert "| 2.5 | 40.0 | 900 |" in markdown(Experiment("t", "l", [table]))
    runs["DiffusionAD"].results[0]["costs"] = {"photos_per_second": 50, "train_minutes": 2}
    (beside,) = product_table({"bolt": runs}, {"bolt": found})
    best = marks(beside)[0]
    assert best["train_minutes"] == "best"
    assert "photos_per_second" not in best  # not measured alike
    card.write_text('{"train_minutes": 2}', encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"peer\.json"):
        imported_rows(folder, "bolt", {"PatchCore": tmp_path / "flat"}, single=True)


def test_the_maps_of_a_single_product_may_lie_in_the_folder_itself(folder, tmp_path):
    write_maps(folder, tmp_path / "flat")
    given = {"PatchCore": tmp_path / "flat"}
    found = imported_rows(folder, "bolt", given, single=True)
    assert found["PatchCore"].figure("pixel_ap").value == 1
    with pytest.raises(BlemishError):
        imported_rows(folder, "bolt", given, single=False)
