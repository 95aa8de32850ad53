from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from blemish.config import preset
from blemish.data import Dataset
from blemish.detection import Length
from blemish.experiments import loop
from blemish.experiments.few_shot import NoPairsError
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
from blemish.experiments.tables import Figure
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
        "up to 6 generated of all few",
        "all few + up to 6 generated",
        "1 real",
        "1 real + up to 6 generated",
        "2 real",
        "2 real + up to 6 generated",
        "all few + up to 2 generated",
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


def test_points_of_which_nothing_is_accepted_are_left_out(bolt, tmp_path, monkeypatch):
    failing = {"of2"}

    def paint(*given, **_):
        if given[4].name in failing:
            raise NoPairsError("none has passed", hint="look")
        return None, tuple(replace(r, synthetic=True) for r in records("spot", 1))

    monkeypatch.setattr(loop, "painted", paint)
    points = loop_points(FewShot.of(bolt), SCALE)
    cells = list(loop_cells(bolt, "bolt", points, preset("fast"), SCALE, (0,), tmp_path))
    left = [f"bolt/loop/{p.name}/seed0" for p in points if not (p.real == 2 and p.generated)]
    assert len(left) == len(points) - 1
    assert [cell.name for cell in cells] == left
    failing.add("of4")
    with pytest.raises(NoPairsError):
        list(loop_cells(bolt, "bolt", points, preset("fast"), SCALE, (0,), tmp_path))


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
    assert "6 pairs of each type were asked for; a detector learns from the first that" in table.caption
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
        "real + up to 6 generated of them": {3: BOTH, 1: Point(1, True, 6)},
        "all few + generated": {0: FEW, 6: BOTH, 2: Point(3, True, 2)},
    }
    assert set(lines) == set(expected)
    for name, points in expected.items():
        found = {x: figure.value for x, figure in lines[name].points}
        assert found == {x: runs[point.name].mean("pixel_ap") for x, point in points.items()}
    assert by_made.x == "generated ones of each type, at most (those of 6 that passed the gate)"


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
    assert "hurt" not in types


def test_what_hurt_is_said_to_have_hurt(loops):
    _, second, types, *_ = said(loops(few=0.2, both=0.04))
    assert second.startswith("Generated defects beside them hurt: pixel AP ")
    assert types.startswith("They hurt bar (-0.")
    assert "help" not in types


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
        (
            {"few": 0.03, "two": 0.3, "both": 0.3},
            "Up to 2 generated of each type are enough: they add 0.",
        ),
        (
            {"few": 0.03, "two": 0.06, "both": 0.3},
            "Up to 6 generated of each type are best; more than these were not tried",
        ),
        ({"few": 0.3, "two": 0.3, "both": 0.3}, "No number of generated defects adds 0.02"),
        ({"few": 0.3, "two": 0.05, "both": 0.05}, "No number of generated defects adds 0.02"),
    ],
)
def test_the_least_count_that_comes_near_the_best_is_enough(loops, skills, expected):
    assert said(loops(**skills))[3].startswith(expected)


@dataclass(frozen=True)
class Known:
    """Intervals of gains, by the point and the type; others are told to be none."""

    gains: dict[tuple[str, str | None], tuple[float, float]]

    def gain(self, method, other, key, value, label=None) -> Figure:  # noqa: ARG002
        return Figure(value, *self.gains.get((method, label), (-0.1, 0.1)))


@pytest.mark.parametrize(
    ("gain", "interval", "expected"),
    [
        (0.03, (0.001, 0.06), "They help with bar (+0.030)."),
        (0.03, (-0.001, 0.06), "With no single type can a difference be told."),
        (0.019, (0.001, 0.03), "With no single type can a difference be told."),
        (-0.019, (-0.03, -0.001), "With no single type can a difference be told."),
        (-0.03, (-0.06, 0.001), "With no single type can a difference be told."),
        (-0.03, (-0.06, -0.001), "They hurt bar (-0.030)."),
    ],
)
def test_a_type_gains_or_loses_what_can_be_told_and_a_person_would_notice(
    loops, gain, interval, expected
):
    runs, _ = loops()
    for point, value in ((FEW, 0.5), (BOTH, 0.5 + gain)):
        runs[point.name].results[0]["per_type"]["bar"]["pixel_ap"] = value
        runs[point.name].results[0]["per_type"]["spot"]["pixel_ap"] = 0.7
    drawn = Known({(BOTH.name, "bar"): interval})
    assert recommendation(POINTS, runs, drawn)[2] == expected


UP, OPEN = (0.001, 0.2), (-0.001, 0.2)


@pytest.mark.parametrize(
    ("values", "intervals", "words"),
    [
        (
            (0.50, 0.585, 0.600),
            (UP, UP),
            "Up to 2 generated of each type are enough: they add 0.085 of pixel AP, and no more",
        ),
        ((0.50, 0.575, 0.600), (UP, UP), "Up to 6 generated of each type are best; more than these"),
        ((0.50, 0.585, 0.600), (OPEN, UP), "Up to 6 generated of each type are best; more than these"),
        ((0.50, 0.550, 0.600), (UP, OPEN), "Up to 2 generated of each type are enough: they add 0.050"),
        ((0.50, 0.585, 0.600), (OPEN, OPEN), "No number of generated defects adds 0.02"),
        ((0.585, 0.590, 0.600), (UP, UP), "No number of generated defects adds 0.02"),
    ],
)
def test_only_a_number_whose_gain_can_be_told_is_called_enough(loops, values, intervals, words):
    runs, _ = loops()
    points = [Point(3, True, count) for count in (0, 2, 6)]
    for point, value in zip(points, values, strict=True):
        runs[point.name].results[0]["figures"]["pixel_ap"] = value
    drawn = Known(dict(zip([(point.name, None) for point in points[1:]], intervals, strict=True)))
    assert recommendation(POINTS, runs, drawn)[3].startswith(words)


def test_the_gain_of_a_type_is_judged_on_the_good_photos_and_its_own(made_runs):
    skills = {"few": [{"bar": 0.03, "spot": 0.03}], "both": [{"bar": 0.3, "spot": 0.03}]}
    runs = made_runs(skills)
    drawn = Redrawn(runs, repeats=100)
    labels = np.array(drawn.labels)
    lead = drawn.gain("both", "few", "pixel_ap", 0.0, "bar")
    values = []
    for weights in drawn.weights:
        weights = np.where(labels == "spot", 0, weights)
        values.append(np.subtract(*(drawn.value(m, "pixel_ap", weights) for m in ("both", "few"))))
    once = np.where(labels == "spot", 0.0, 1.0)
    whole = np.subtract(*(drawn.value(m, "pixel_ap", once) for m in ("both", "few")))
    expected = np.quantile(values, [0.025, 0.975]) - whole
    assert (lead.low, lead.high) == pytest.approx(expected)


def test_where_none_are_enough_the_words_say_after_how_long(loops):
    words = said(loops(few=0.3))[3]
    assert "adds 0.02 of pixel AP that can be told here after 90 iterations: photograph" in words


def test_where_a_figure_is_undefined_the_words_say_so(loops):
    runs, drawn = loops()
    runs[FEW.name].results[0]["figures"]["pixel_ap"] = None
    runs[FEW.name].results[0]["per_type"]["bar"]["pixel_ap"] = None
    first, second, types, enough, _ = recommendation(POINTS, runs, drawn)
    assert first == "The few real defects: pixel AP is undefined."
    assert second == "Generated defects beside them: pixel AP is undefined."
    assert "bar" not in types
    assert enough.startswith("No number of generated defects adds")
