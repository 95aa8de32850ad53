from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from blemish.experiments.charts import Group, curve_chart, histogram, round_values, score_axis
from blemish.metrics import Curve


def drawing(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 -- our own text


def points(path: str) -> np.ndarray:
    return np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path), dtype=float)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.13, 0.52, [0.2, 0.3, 0.4, 0.5]),
        (-30, 70, [-20, 0, 20, 40, 60]),
    ],
)
def test_an_axis_is_marked_at_round_values(low: float, high: float, expected: list[float]) -> None:
    assert round_values(low, high, 5) == pytest.approx(expected)


def test_scores_over_decades_get_a_logarithmic_axis_and_others_a_linear_one() -> None:
    assert score_axis(np.array([0.001, 0.5]), 0, 100).logarithmic
    assert not score_axis(np.array([0.2, 0.5]), 0, 100).logarithmic
    assert not score_axis(np.array([0.0, 0.5]), 0, 100).logarithmic


def test_equal_ratios_are_equally_long_on_a_logarithmic_axis() -> None:
    axis = score_axis(np.array([0.001, 1.0]), 0, 100)
    assert axis.at(0.1) - axis.at(0.01) == pytest.approx(axis.at(1) - axis.at(0.1))
    assert axis.ticks() == pytest.approx([0.001, 0.01, 0.1, 1])


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_the_bars_of_a_group_add_up_to_all_of_it(scale: float) -> None:
    scores = np.exp(scale * np.random.default_rng(0).standard_normal(200))
    svg = drawing(histogram([Group("good", "good", scores)], threshold=1.0))
    height = 262 - points(next(svg.iter("path")).attrib["d"])[1:-1:2, 1]
    tick = next(e for e in svg.iter("text") if e.text not in ("0 %", None) and "%" in e.text)
    per_share = (262 - float(tick.attrib["y"])) / (float(tick.text.split()[0]) / 100)
    assert height.sum() / per_share == pytest.approx(1, abs=0.02)


def test_the_threshold_is_drawn_between_the_scores_it_divides() -> None:
    low, high = np.full(5, 0.2), np.full(5, 0.8)
    groups = [Group("good", "good", low), Group("bad", "defect", high)]
    svg = drawing(histogram(groups, threshold=0.5))
    line = next(e for e in svg.iter("line") if e.attrib["class"] == "threshold")
    assert float(line.attrib["x1"]) == pytest.approx(500, abs=0.1)


def test_equal_scores_have_a_histogram_and_no_scores_have_none() -> None:
    assert drawing(histogram([Group("good", "good", np.full(3, 0.4))], 0.4)).tag == "svg"
    assert histogram([Group("good", "good", np.empty(0))], 0.4) == ""


def test_a_curve_ends_in_the_corners_and_marks_the_working_point() -> None:
    curve = Curve(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.5, 1.0]))
    svg = drawing(
        curve_chart(curve, ("x < 1", "y"), description="ROC", baseline=(0, 1), point=(0, 0.5))
    )
    path = points(next(svg.iter("path")).attrib["d"])
    mark = next(svg.iter("circle")).attrib
    assert path.tolist() == [[56, 316], [56, 166], [436, 16]]
    assert (float(mark["cx"]), float(mark["cy"])) == (56, 166)
    assert svg.attrib["aria-label"] == "ROC"


def test_steps_run_level_at_the_height_of_their_right_end() -> None:
    curve = Curve(np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.0, 0.5]))
    svg = curve_chart(
        curve, ("x", "y"), description="PR", baseline=(0.5, 0.5), point=(1, 0.5), steps=True
    )
    assert 'd="M56.0 16.0V16.0L246.0 16.0V166.0L436.0 166.0"' in svg
