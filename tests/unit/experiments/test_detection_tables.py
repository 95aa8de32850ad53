from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from blemish.data import Dataset, read_dataset, read_image, write_sample
from blemish.errors import ArtifactError, BlemishError
from blemish.experiments.detection_tables import (
    ablation_table,
    averaged,
    imported_rows,
    product_table,
)
from blemish.experiments.few_shot_tables import LOCALISATION
from blemish.experiments.reported import reported
from blemish.experiments.runs import Redrawn
from blemish.experiments.score_maps import PEER, map_path, scored_maps
from blemish.experiments.tables import Experiment, Figure, Row, markdown
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
    table = ablation_table("bolt", "speed", runs)
    assert (table.title, table.subject) == ("bolt: speed", "variant")
    drawn = Redrawn(runs)
    for row, (method, found) in zip(table.rows, runs.items(), strict=True):
        assert row.name == method
        for key in KEYS:
            figure = row.figure(key)
            assert figure.value == found.mean(key)
            known = key in ("pixel_ap", "image_auroc")
            expected = drawn.figure(method, key, figure.value).interval if known else None
            assert figure.interval == expected
    assert "| slow | **1.000** | **1.000** [1.000, 1.000] |" in markdown(Experiment("t", "l", [table]))


def test_what_a_variant_costs_stands_beside_what_it_finds_where_it_was_measured(made_runs):
    runs = made_runs({"fast": [0.04, 0.06], "slow": [0.5]})
    plain = ablation_table("bolt", "speed", runs)
    assert not {"train_minutes", "photos_per_second", "memory_mib"} & {c.key for c in plain.columns}
    for result, speed in zip(runs["fast"].results, (30, 50), strict=True):
        result["costs"] = {"photos_per_second": speed, "memory_mib": None}
    fast, slow = (table := ablation_table("bolt", "speed", runs)).rows
    assert [c.key for c in table.columns[len(plain.columns) :]] == ["photos_per_second"]
    assert fast.figure("photos_per_second") == Figure(40)
    assert slow.figure("photos_per_second") == Figure(None)


def test_an_undefined_figure_is_a_dash_without_an_interval(made_runs):
    runs = made_runs({"fast": [0.05]})
    runs["fast"].results[0]["figures"]["pixel_ap"] = None
    (row,) = ablation_table("bolt", "speed", runs).rows
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
    bolt = ablation_table("bolt", "speed", made_runs({"fast": [0.05], "slow": [0.5]}))
    nut = ablation_table("nut", "speed", made_runs({"slow": [0.05]}))
    (means,) = averaged([bolt, nut])
    assert (means.title, means.subject) == ("All products", "variant")
    (slow,) = means.rows
    assert slow.name == "slow"
    for key in KEYS:
        both = [bolt.rows[1].figure(key).value, nut.rows[0].figure(key).value]
        assert slow.figure(key).value == pytest.approx(fmean(both))
    assert averaged([bolt]) == []


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        # DiffusionAD, Tables 5 and 6 (bottle), 1 and 4 (candle), 7 (Class1), 8 (tubes)
        (["bottle"], {"image_auroc": 5, "pixel_auroc": 5, "pro": 6, "pixel_ap": 6}),
        (["candle"], {"image_auroc": 1, "pro": 1, "pixel_auroc": 4, "pixel_ap": 4}),
        (["Class1"], {"image_auroc": 7, "pixel_ap": 7}),
        (["tubes"], {"image_auroc": 8, "pro": 8}),
        (["bottle", "cable", "zipper"], {"image_auroc": 5, "pixel_auroc": 5, "pro": 6, "pixel_ap": 6}),
        (["bottle", "candle"], {}),
        (["bottle", "my bolt"], {}),
        (["my bolt"], {}),
    ],
)
def test_the_paper_stands_beside_products_of_one_benchmark_with_their_mean(made_runs, names, numbers):
    runs = made_runs({"DiffusionAD": [0.05]})
    whole = product_table(dict.fromkeys(names, runs), {})[0]
    printed = {row.name: row for row in whole.rows if row.origin == "printed"}
    assert bool(printed) == bool(numbers)
    for method, row in printed.items():
        assert set(row.figures) == set(numbers)
        for key, number in numbers.items():
            table = reported(f"diffusionad-{number}")
            expected = fmean(table.rows[name][f"{method}/{key}"] for name in names)
            assert row.figure(key).value == pytest.approx(expected / 100)
            assert table.source in row.note
    assert not numbers or {"DiffusionAD", "PatchCore", "DRAEM"} <= set(printed)


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
    (table,) = product_table({"bolt": made_runs({"DiffusionAD": [0.05]})}, {"bolt": found})
    assert "| 2.5 | 40.0 | 900 |" in markdown(Experiment("t", "l", [table]))
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
