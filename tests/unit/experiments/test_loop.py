from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from blemish.config import preset
from blemish.data import Dataset
from blemish.detection import Length
from blemish.experiments import loop
from blemish.experiments.loop import (
    Point,
    loop_cells,
    loop_plots,
    loop_points,
    loop_table,
    recommendation,
)
from blemish.experiments.protocol import FAST, FewShot
from blemish.experiments.runs import Redrawn
from blemish.records import Record

SCALE = replace(FAST, shots=(1, 2, 5), generated=(0, 2, 6), detector=Length(epochs=3))


def records(label: str, count: int, split: str = "train") -> list[Record]:
    names = [f"{split}/{label}/{index}" for index in range(count)]
    return [Record(Path(f"{n}.png"), label, split, Path(f"{n}_mask.png")) for n in names]


@pytest.fixture
def bolt() -> Dataset:
    """Nine bars and twelve spots, so that three and four are learned from."""
    test = [*records("good", 3, "test"), *records("bar", 9, "test"), *records("spot", 12, "test")]
    return Dataset(Path("bolt"), (*records("good", 5), *test), "mvtec")


def test_the_points_are_whole_rows_at_the_full_third_and_both_curves(bolt):
    points = loop_points(FewShot.of(bolt), SCALE)
    assert points == [
        Point(0),
        Point(4, True),
        Point(4, False, 6),
        Point(4, True, 6),
        Point(1, True),
        Point(1, True, 6),
        Point(2, True),
        Point(2, True, 6),
        Point(4, True, 2),
    ]
    assert len({point.name for point in points}) == len(points)
    assert [point.words(4) for point in points] == [
        "good photos alone",
        "all few",
        "6 generated of all few",
        "all few + 6 generated",
        "1 real",
        "1 real + 6 generated",
        "2 real",
        "2 real + 6 generated",
        "all few + 2 generated",
    ]


def test_each_detector_learns_from_what_its_point_says_and_no_generator_from_more(
    bolt, tmp_path, monkeypatch
):
    asked: dict[int, tuple[Counter[str], int]] = {}

    def paint(_, split, __, pairs, folder, **___):
        shots = int(folder.name.removeprefix("of"))
        asked[shots] = (Counter(record.label for record in split.few), pairs)
        assert split.goods == bolt.train
        both = (*records("spot", 1), *records("bar", 1))
        made = [
            replace(r, image=folder / f"{n}.png", synthetic=True) for n in range(pairs) for r in both
        ]
        return None, tuple(made)

    monkeypatch.setattr(loop, "painted", paint)
    points = loop_points(FewShot.of(bolt), SCALE)
    config = preset("fast")
    cells = list(loop_cells(bolt, "bolt", points, config, SCALE, (0, 7), tmp_path))
    assert asked == {
        1: (Counter(bar=1, spot=1), 6),
        2: (Counter(bar=2, spot=2), 6),
        4: (Counter(bar=3, spot=4), 6),
    }
    assert [cell.name for cell in cells[:2]] == [
        "bolt/loop/real0_generated0/seed0",
        "bolt/loop/real0_generated0/seed7",
    ]
    split = FewShot.of(bolt)
    for point, first, second in zip(points, cells[::2], cells[1::2], strict=True):
        real = [record for record in first.examples if not record.synthetic]
        made = [record for record in first.examples if record.synthetic]
        assert real == list(split.shots(point.real).few if point.shown else ())
        per_type = {"bar": point.generated, "spot": point.generated} if point.generated else {}
        assert Counter(record.label for record in made) == per_type
        assert {record.image.parent.name for record in made} <= {f"of{point.real}"}
        assert first.examples == second.examples
        assert (first.config.training.seed, second.config.training.seed) == (0, 7)
        assert first.config.training.model_copy(update={"seed": 7}) == second.config.training
        assert first.length == Length(epochs=3)
    assert {cell.test for cell in cells} == {split.test}
    assert {cell.dataset.train for cell in cells} == {split.goods}
    assert not any(cell.dataset.train_defects for cell in cells)


def test_fewer_generated_ones_are_the_first_of_more(bolt, tmp_path, monkeypatch):
    pairs = tuple(replace(r, synthetic=True) for r in (*records("bar", 6), *records("spot", 6)))
    monkeypatch.setattr(loop, "painted", lambda *_, **__: (None, pairs))
    points = [Point(4, False, 2), Point(4, False, 6)]
    fewer, more = loop_cells(bolt, "bolt", points, preset("fast"), SCALE, (0,), tmp_path)
    assert fewer.examples == (*pairs[:2], *pairs[6:8])
    assert more.examples == pairs


ALONE, FEW, MADE, BOTH = Point(0), Point(3, True), Point(3, False, 6), Point(3, True, 6)
POINTS = [ALONE, FEW, MADE, BOTH, Point(1, True), Point(1, True, 6), Point(3, True, 2)]


@pytest.fixture
def loops(made_runs):
    """Return runs and their redrawing: `loops(few, both, two)`, skills at three points; others 0.05."""

    def make(few=0.05, both=0.05, two=0.05, alone=0.05):
        skills = dict.fromkeys(POINTS, 0.05)
        skills |= {ALONE: alone, FEW: few, BOTH: both, Point(3, True, 2): two}
        runs = made_runs({point.name: [skill] for point, skill in skills.items()})
        return runs, Redrawn(runs, repeats=100)

    return make


def test_the_table_has_a_row_for_each_point_with_alarms_and_means(made_runs):
    runs = made_runs({point.name: [0.04, 0.06] for point in POINTS})
    table = loop_table("bolt", POINTS, runs, Redrawn(runs, repeats=20))
    assert [row.name for row in table.rows] == [
        f"{point.words(3)} (7 to 8 examples)" for point in POINTS
    ]
    for point, row in zip(POINTS, table.rows, strict=True):
        assert row.figure("pro").value == runs[point.name].mean("pro")
        assert row.figure("false_alarm_rate").value == 0.125
        assert row.figure("pixel_ap").interval is not None


def test_the_curves_go_through_the_points_that_belong_to_them(loops):
    runs, drawn = loops()
    by_real, by_made = loop_plots("bolt", POINTS, runs, drawn)
    lines = {line.name: line for line in (*by_real.series, *by_made.series)}
    expected = {
        "real alone": {0: ALONE, 3: FEW, 1: Point(1, True)},
        "real + 6 generated of them": {3: BOTH, 1: Point(1, True, 6)},
        "all few + generated": {0: FEW, 6: BOTH, 2: Point(3, True, 2)},
    }
    assert set(lines) == set(expected)
    for name, points in expected.items():
        found = {x: figure.value for x, figure in lines[name].points}
        assert found == {x: runs[point.name].mean("pixel_ap") for x, point in points.items()}


def said(loops_made) -> list[str]:
    runs, drawn = loops_made
    return recommendation(POINTS, runs, drawn)


def test_what_helped_is_said_to_have_helped_with_the_numbers(loops):
    runs, drawn = loops(alone=0.02, few=0.06, both=0.2)
    first, second, types, *_ = recommendation(POINTS, runs, drawn)
    before, after = (runs[point.name].mean("pixel_ap") for point in (ALONE, FEW))
    assert first.startswith(
        f"The few real defects helped: pixel AP {before:.3f} to {after:.3f} ({after - before:+.3f}, "
    )
    assert second.startswith("Generated defects beside them helped: pixel AP ")
    assert types.startswith("They help with bar (+0.")
    assert ", spot (+0." in types
    assert types.endswith("they hurt none.")


def test_what_hurt_is_said_to_have_hurt(loops):
    _, second, types, *_ = said(loops(few=0.2, both=0.04))
    assert second.startswith("Generated defects beside them hurt: pixel AP ")
    assert types.startswith("They help with no type; they hurt bar (-0.")


def test_a_difference_that_the_photos_cannot_tell_is_called_none(loops):
    first, second, *_ = said(loops(alone=0.0501, few=0.05, both=0.0502))
    assert first.startswith("The few real defects made no difference that can be told: pixel AP ")
    assert second.startswith("Generated defects beside them made no difference that can be told:")


def test_types_that_gain_and_types_that_lose_are_told_apart_and_the_worst_is_named(loops):
    few, both = {"bar": 0.03, "spot": 0.3}, {"bar": 0.3, "spot": 0.03}
    *_, types, _, worst = said(loops(few=few, both=both))
    assert types.startswith("They help with bar (+0.")
    assert "they hurt spot (-0." in types
    assert worst == "The type that is marked worst is spot: photograph that next."


@pytest.mark.parametrize(
    ("skills", "expected"),
    [
        ({"few": 0.03, "two": 0.3, "both": 0.3}, "2 generated of each type are enough"),
        (
            {"few": 0.03, "two": 0.06, "both": 0.3},
            "6 generated of each type are best; more than these were not tried",
        ),
        ({"few": 0.3, "two": 0.3, "both": 0.3}, "No number of generated defects adds as much as 0.02"),
        ({"few": 0.3, "two": 0.05, "both": 0.05}, "No number of generated defects adds as much"),
    ],
)
def test_the_least_count_that_comes_near_the_best_is_enough(loops, skills, expected):
    assert said(loops(**skills))[3].startswith(expected)


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (0.03, "They help with bar (+0.030); they hurt none."),
        (0.019, "They help with no type; they hurt none."),
        (-0.019, "They help with no type; they hurt none."),
        (-0.03, "They help with no type; they hurt bar (-0.030)."),
    ],
)
def test_a_type_gains_or_loses_only_what_a_person_would_notice(loops, gain, expected):
    runs, drawn = loops()
    for point, value in ((FEW, 0.5), (BOTH, 0.5 + gain)):
        runs[point.name].results[0]["per_type"]["bar"]["pixel_ap"] = value
        runs[point.name].results[0]["per_type"]["spot"]["pixel_ap"] = 0.7
    assert recommendation(POINTS, runs, drawn)[2] == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.50, 0.585, 0.600), "2 generated of each type are enough: more add less than 0.02"),
        ((0.50, 0.575, 0.600), "6 generated of each type are best; more than these were not tried"),
        ((0.585, 0.590, 0.600), "No number of generated defects adds as much as 0.02"),
    ],
)
def test_enough_is_what_more_would_not_noticeably_better(loops, values, words):
    runs, drawn = loops()
    for count, value in zip((0, 2, 6), values, strict=True):
        runs[Point(3, True, count).name].results[0]["figures"]["pixel_ap"] = value
    assert recommendation(POINTS, runs, drawn)[3].startswith(words)


def test_where_none_are_enough_the_words_say_after_how_long(loops):
    assert "adds as much as 0.02 of pixel AP here after 90 iterations: " in said(loops(few=0.3))[3]


def test_where_a_figure_is_undefined_the_words_say_so(loops):
    runs, drawn = loops()
    runs[FEW.name].results[0]["figures"]["pixel_ap"] = None
    runs[FEW.name].results[0]["per_type"]["bar"]["pixel_ap"] = None
    first, second, *_ = recommendation(POINTS, runs, drawn)
    assert first == "The few real defects: pixel AP is undefined."
    assert second == "Generated defects beside them: pixel AP is undefined."
