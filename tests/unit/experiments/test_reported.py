from __future__ import annotations

import math

import pytest

from blemish.errors import ConfigError
from blemish.experiments.reported import reported, table_names

CATEGORIES = {
    "mvtec": "bottle cable capsule carpet grid hazelnut leather metal_nut pill screw tile toothbrush "
    "transistor wood zipper",
    "visa": "candle capsules cashew chewinggum fryum macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 "
    "pipe_fryum",
    "dagm": "Class1 Class2 Class3 Class4 Class5 Class6 Class7 Class8 Class9 Class10",
    "mpdd": "bracket_black bracket_brown bracket_white connector metal_plate tubes",
}
PER_CATEGORY = [name for name in table_names() if reported(name).printed_average]
METRICS = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pro")

# Averages that are not the mean of their column: of all rows but bottle, or of none that we know.
WITHOUT_BOTTLE = [
    *(("anomalydiffusion-2", column) for column in reported("anomalydiffusion-2").units),
    *(("anomalydiffusion-10", column) for column in reported("anomalydiffusion-10").units),
    ("anomalydiffusion-5", "AnomalyDiffusion/pixel_ap"),
    ("anomalydiffusion-12", "AnomalyDiffusion/pixel_f1_max"),
]
UNEXPLAINED = [
    ("anomalydiffusion-5", "DevNet/pixel_auroc"),
    ("anomalydiffusion-12", "CFA/pixel_f1_max"),
    ("diffusionad-5", "RD4AD/image_auroc"),
]


def half_a_digit(name):
    """Half of the last printed digit: what rounding may take or add."""
    two_digits = name in ("anomalydiffusion-1", "anomalydiffusion-4")
    return (0.005 if two_digits else 0.05) + 1e-9


@pytest.mark.parametrize("name", table_names())
def test_every_figure_is_one_that_its_metric_allows(name):
    table = reported(name)
    for row in filter(None, [*table.rows.values(), table.printed_average]):
        assert row.keys() == table.units.keys()
        for column, figure in row.items():
            most = 100 if table.units[column] == "%" else math.inf
            # The inception score is the exponential of a divergence, and so at least 1.
            assert ("inception_score" in column) <= figure <= most


@pytest.mark.parametrize("name", PER_CATEGORY)
def test_the_rows_are_the_categories_of_the_benchmark(name):
    table = reported(name)
    expected = set(CATEGORIES[table.benchmark].split())
    if name == "anomalydiffusion-4":
        expected -= {"toothbrush"}  # it has one type of defect: nothing to classify
    assert set(table.rows) == expected


@pytest.mark.parametrize("name", PER_CATEGORY)
def test_the_printed_average_is_the_mean_of_its_column_but_where_the_paper_is_wrong(name):
    table = reported(name)
    known = {column for table_, column in WITHOUT_BOTTLE + UNEXPLAINED if table_ == name}
    for column, mean in table.average().items():
        # The papers average figures that are not rounded yet: twice half a digit.
        off = abs(mean - table.printed_average[column]) > 2 * half_a_digit(name)
        assert not off or column in known, column


@pytest.mark.parametrize(("name", "column"), WITHOUT_BOTTLE)
def test_an_average_that_leaves_out_bottle_is_the_mean_of_the_other_fourteen(name, column):
    table = reported(name)
    others = table.average(row for row in table.rows if row != "bottle")
    assert abs(others[column] - table.printed_average[column]) <= half_a_digit(name)


@pytest.mark.parametrize(("name", "column"), UNEXPLAINED)
def test_no_row_left_out_explains_the_other_wrong_averages(name, column):
    table = reported(name)
    for out in (None, *table.rows):
        mean = table.average(row for row in table.rows if row != out)[column]
        assert abs(mean - table.printed_average[column]) > half_a_digit(name)


@pytest.mark.parametrize(
    ("method", "means"),
    [
        ("AnomalyDiffusion", (99.10, 82.23, 77.07, 94.04)),
        ("DRAEM", (92.46, 55.88, 54.51, 83.67)),
        ("PRN", (96.97, 66.86, 65.10, 87.45)),
        ("DFMGAN", (90.59, 64.49, 63.56, 77.36)),
        ("Crop&Paste", (90.63, 49.65, 50.30, 74.49)),
    ],
)
def test_the_corrected_averages_over_all_fifteen_categories(method, means):
    average = reported("anomalydiffusion-10").average()
    assert tuple(round(average[f"{method}/{metric}"], 2) for metric in METRICS) == means


@pytest.mark.parametrize(("short", "long"), [(2, 10), (3, 11)])
def test_a_table_of_the_text_is_part_of_one_of_the_supplement(short, long):
    short, long = reported(f"anomalydiffusion-{short}"), reported(f"anomalydiffusion-{long}")
    for row, figures in [*short.rows.items(), (None, short.printed_average)]:
        full = long.printed_average if row is None else long.rows[row]
        assert figures == {column: full[column] for column in short.units}


@pytest.mark.parametrize(
    ("name", "differing"),
    [
        ("anomalydiffusion-5", {"bottle": 0.1, "toothbrush": 0.1}),
        ("anomalydiffusion-12", {"capsule": -1.0}),
    ],
)
def test_anomalydiffusion_is_the_same_in_each_table_but_for_what_the_note_says(name, differing):
    table, reference = reported(name), reported("anomalydiffusion-10")
    own = [column for column in table.units if column.startswith("AnomalyDiffusion/")]
    gaps = {
        row: round(reference.rows[row][column] - figures[column], 3)
        for row, figures in table.rows.items()
        for column in own
        if reference.rows[row][column] != figures[column]
    }
    assert gaps == differing
    assert all(row in table.note for row in differing)


def test_accuracies_are_shares_of_the_two_thirds_of_the_defects_that_are_tested():
    # How many defects MVTec AD has of each type; the lowest third of each is learned from.
    types = {
        "bottle": [20, 22, 21],
        "hazelnut": [18, 17, 18, 17],
        "wood": [8, 10, 21, 11, 10],
        "metal_nut": [25, 22, 23, 23],
        "capsule": [23, 22, 21, 23, 20],
        "pill": [25, 17, 21, 26, 19, 9, 24],
    }
    rows = reported("anomalydiffusion-4").rows
    for category, counts in types.items():
        tested = sum(count - count // 3 for count in counts)
        right = rows[category]["AnomalyDiffusion/accuracy"] / 100 * tested
        assert abs(right - round(right)) <= 0.005 / 100 * tested + 1e-9, category


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("anomalydiffusion-6", "SAE, masked loss, AAR"),
        ("anomalydiffusion-7", "30%"),
        ("anomalydiffusion-8", "spatial 4, anomaly 8"),
    ],
)
def test_the_whole_method_of_an_ablation_is_that_of_the_main_table(name, row):
    printed = reported("anomalydiffusion-10").printed_average
    for metric, figure in reported(name).rows[row].items():
        assert figure == printed[f"AnomalyDiffusion/{metric}"]


def test_the_averages_over_benchmarks_are_those_of_the_tables_by_category():
    overview = reported("diffusionad-2")
    compared = 0
    for name in ("1", "4", "5", "6", "7", "8"):
        table = reported(f"diffusionad-{name}")
        for column, figure in table.printed_average.items():
            method, metric = column.split("/")
            assert overview.rows[method][f"{table.benchmark}/{metric}"] == figure
            compared += 1
    assert compared == 6 * 8 * 2
    for row in overview.rows.values():
        for metric in ("image_auroc", "pixel_auroc", "pro", "pixel_ap"):
            mean = math.fsum(row[f"{benchmark}/{metric}"] for benchmark in CATEGORIES) / 4
            assert abs(mean - row[f"average/{metric}"]) <= half_a_digit("diffusionad-2")


def test_the_last_row_of_diffusionads_ablation_is_its_result_on_visa():
    rows = list(reported("diffusionad-3").rows.values())
    result = reported("diffusionad-2").rows["DiffusionAD"]
    for metric in ("image_auroc", "pixel_auroc", "pro", "pixel_ap"):
        assert rows[-1][metric] == result[f"visa/{metric}"]


def test_the_gains_that_the_texts_name_are_differences_of_the_tables():
    accuracy = reported("anomalydiffusion-4").printed_average
    gain = accuracy["AnomalyDiffusion/accuracy"] - accuracy["DFMGAN/accuracy"]
    assert gain == pytest.approx(16.48)
    rows = reported("diffusionad-2").rows
    ap = {method: row["mvtec/pixel_ap"] for method, row in rows.items()}
    assert ap["DiffusionAD"] - ap["RD++"] == pytest.approx(15.3)
    assert ap["DiffusionAD"] - ap["DRAEM"] == pytest.approx(7.7)
    speed = {name: row["frames_per_second"] for name, row in reported("diffusionad-3").rows.items()}
    ratio = speed["diffusion, one step"] / speed["diffusion, iterative"]
    assert ratio == pytest.approx(300, rel=0.02)  # "approximately 300 times"


def test_a_table_says_where_it_comes_from():
    assert reported("diffusionad-5").source == "DiffusionAD (arXiv:2303.08730), Table 5"
    assert reported("anomalydiffusion-10").source == "AnomalyDiffusion (arXiv:2312.05767), Table 10"


def test_an_unknown_table_is_answered_with_those_that_there_are():
    with pytest.raises(ConfigError, match="'anomalydiffusion-13'") as caught:
        reported("anomalydiffusion-13")
    assert "diffusionad-8" in caught.value.hint


def test_each_category_has_its_types_of_defects_and_no_other_has():
    tables = {reported(name).benchmark: reported(name) for name in PER_CATEGORY}
    assert set(tables) == set(CATEGORIES)
    # the number of types in MVTec AD (Bergmann et al. 2019, Table 1) is 73
    count = 0
    for name in CATEGORIES["mvtec"].split():
        own = [label for label in MVTEC_TYPES.split() if tables["mvtec"].covers({name: [label]})]
        count += len(own)
        assert tables["mvtec"].covers({name: own})
        assert not tables["mvtec"].covers({name: [*own, "dent"]})
    assert count == 73


MVTEC_TYPES = (
    "bent bent_lead bent_wire broken broken_large broken_small broken_teeth cable_swap color combined "
    "contamination crack cut cut_inner_insulation cut_lead cut_outer_insulation damaged_case defective "
    "fabric_border fabric_interior faulty_imprint flip fold glue glue_strip gray_stroke hole liquid "
    "manipulated_front metal_contamination misplaced missing_cable missing_wire oil pill_type poke "
    "poke_insulation print rough scratch scratch_head scratch_neck split_teeth squeeze squeezed_teeth "
    "thread thread_side thread_top"
)


def test_a_product_is_of_a_benchmark_by_its_name_and_its_types_of_defects():
    mvtec, visa, several = (reported(f"diffusionad-{number}") for number in (5, 1, 2))
    assert mvtec.covers({"screw": ["thread_top"], "tile": ["oil", "rough"]})
    assert not mvtec.covers({"screw": ["thread_top"], "tile": ["chip"]})
    assert not mvtec.covers({"screw": ["oil"]})
    assert not mvtec.covers({"candle": ["anomaly"]})
    assert visa.covers({"candle": ["anomaly"]})
    assert not mvtec.covers({})
    assert not several.covers({"DRAEM": []})
    assert not reported("anomalydiffusion-4").covers({"toothbrush": ["defective"]})
