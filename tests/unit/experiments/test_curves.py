from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from blemish.experiments.curves import MARKERS, line_chart, swatch
from blemish.experiments.tables import Figure, Plot, Series

Points = list[tuple[float, float]]


def drawing(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 -- our own text


def plot_of(*lines: list[tuple[float, Figure]], **changes: object) -> Plot:
    series = [Series(f"line {place}", line) for place, line in enumerate(lines)]
    return Plot(**{"title": "P", "series": series, "x": "n", "y": "AP", **changes})


def paths(svg: str, kind: str) -> list[Points]:
    found = [e for e in drawing(svg).iter("path") if e.attrib["class"].split()[0] == kind]
    pairs = [re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", e.attrib["d"]) for e in found]
    return [[(float(x), float(y)) for x, y in points] for points in pairs]


def texts(svg: str) -> dict[str, dict[str, str]]:
    return {e.text or "": e.attrib for e in drawing(svg).iter("text")}


def test_points_are_where_the_numbers_of_the_axes_put_them() -> None:
    points = [(x, Figure(y)) for x, y in [(0, 0.4), (1, 0.5), (4, 0.7)]]
    svg = line_chart(plot_of(points))
    numbers = texts(svg)
    (line,) = paths(svg, "line")
    assert [x for x, _ in line] == [float(numbers[name]["x"]) for name in ("0", "1", "4")]
    upright = [float(numbers[name]["y"]) for name in ("0.4", "0.5", "0.7")]
    assert [y for _, y in line] == pytest.approx(upright)


def test_points_in_any_order_make_the_same_chart() -> None:
    points = [(float(x), Figure(x * x)) for x in range(4)]
    assert line_chart(plot_of(points)) == line_chart(plot_of(points[::-1]))


def test_equal_ratios_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    svg = line_chart(plot_of([(x, Figure(0.1 * x)) for x in (1, 2, 4, 8)], logarithmic=True))
    (line,) = paths(svg, "line")
    gaps = [right[0] - left[0] for left, right in pairwise(line)]
    assert gaps == pytest.approx([gaps[0]] * 3, abs=0.11)
    assert "n (logarithmic)" in texts(svg)


def test_a_band_runs_along_the_upper_ends_and_back_along_the_lower_ones() -> None:
    points = [(0, Figure(0.5, 0.4, 0.7)), (1, Figure(0.6, 0.5, 0.8))]
    svg = line_chart(plot_of(points, [(0, Figure(0.4)), (1, Figure(0.8))]))
    (band,) = paths(svg, "band")
    (left, low), (right, high) = paths(svg, "line")[1]
    scale = (low - high) / 0.4
    expected = [(left, 0.7), (right, 0.8), (right, 0.5), (left, 0.4)]
    assert [x for x, _ in band] == [x for x, _ in expected]
    heights = [low - (y - 0.4) * scale for _, y in expected]
    assert [y for _, y in band] == pytest.approx(heights, abs=0.11)


def test_a_line_and_its_band_have_a_gap_where_the_figure_is_undefined() -> None:
    known = Figure(0.5, 0.4, 0.6)
    svg = line_chart(plot_of([(0, known), (1, known), (2, Figure(None, 0.4, 0.6)), (3, known)]))
    assert [len(line) for line in paths(svg, "line")] == [2, 1]
    assert [len(band) for band in paths(svg, "band")] == [4, 2]


def test_a_zero_is_a_figure() -> None:
    svg = line_chart(plot_of([(0, Figure(0.0, -0.1, 0.1)), (1, Figure(1.0, 0.9, 1.1))]))
    assert [len(line) for line in paths(svg, "line")] == [2]
    assert [len(band) for band in paths(svg, "band")] == [4]


def test_the_upright_axis_holds_every_interval_and_need_not_start_at_zero() -> None:
    svg = line_chart(plot_of([(0, Figure(0.90, 0.86, 0.93)), (1, Figure(0.91, 0.88, 0.94))]))
    heights = [y for _, y in paths(svg, "band")[0]]
    assert 30 < min(heights) < 50  # the frame is from 30 to 284
    assert 264 < max(heights) < 284
    assert "0.88" in texts(svg)


def test_one_point_or_equal_figures_are_in_the_middle() -> None:
    ((place,),) = paths(line_chart(plot_of([(5, Figure(0.9))])), "line")
    assert place == pytest.approx((300, 157))


def test_few_values_of_x_are_named_and_of_many_only_round_ones() -> None:
    few = texts(line_chart(plot_of([(x, Figure(x)) for x in (3, 70, 123)])))
    assert {"3", "70", "123"} <= set(few)
    many = texts(line_chart(plot_of([(x, Figure(x)) for x in range(3, 103)])))
    assert {"20", "40", "100"} <= set(many)
    assert "3" not in many


def test_numbers_below_the_axis_do_not_run_into_each_other() -> None:
    svg = line_chart(plot_of([(x, Figure(x)) for x in (1, 2, 4, 8, 16, 10000)]))
    below = [e.text for e in drawing(svg).iter("text") if e.attrib.get("y") == "304"]
    assert below == ["1", "10000"]


def test_six_lines_differ_in_class_and_marker_and_a_seventh_is_refused() -> None:
    lines = [[(0, Figure(y)), (1, Figure(y))] for y in range(6)]
    drawn = drawing(line_chart(plot_of(*lines))).iter("path")
    found = {(e.attrib["class"], e.attrib["d"]) for e in drawn}
    assert {(f"mark s{place}", marker) for place, marker in enumerate(MARKERS)} <= found
    assert len(set(MARKERS)) == 6
    with pytest.raises(ValueError, match="at most 6 lines"):
        line_chart(plot_of(*lines, lines[0]))


def test_the_legend_shows_the_line_and_its_marker() -> None:
    line, mark = drawing(swatch(2)).iter("path")
    assert (line.attrib["class"], mark.attrib["class"]) == ("line s2", "mark s2")
    assert mark.attrib["d"] == MARKERS[2]


def test_a_long_line_has_few_markers() -> None:
    svg = line_chart(plot_of([(x, Figure(x)) for x in range(1000)]))
    assert len(paths(svg, "line")[0]) == 1000
    assert len(paths(svg, "mark")) <= 12


def test_a_point_between_two_gaps_can_be_seen_on_a_long_line() -> None:
    known = {0, 1, 2, 50, 98, 99}
    svg = line_chart(plot_of([(x, Figure(x if x in known else None)) for x in range(100)]))
    (place,) = (run[0] for run in paths(svg, "line") if len(run) == 1)
    assert f'transform="translate({place[0]} {place[1]})"' in svg


def test_a_logarithmic_axis_refuses_zero() -> None:
    with pytest.raises(ValueError, match="positive"):
        line_chart(plot_of([(0, Figure(1)), (1, Figure(2))], logarithmic=True))


@pytest.mark.parametrize("lines", [[], [[]], [[(0, Figure(None))]]])
def test_without_a_figure_there_is_no_chart(lines: list[list[tuple[float, Figure]]]) -> None:
    assert line_chart(plot_of(*lines)) == ""


def test_an_empty_line_beside_another_is_not_drawn() -> None:
    svg = line_chart(plot_of([], [(0, Figure(1)), (1, Figure(2))]))
    assert len(paths(svg, "line")) == 1


def test_the_chart_is_described_and_names_from_outside_stay_text() -> None:
    evil = '"><script>alert(1)</script>'
    plot = Plot(evil, [Series(evil, [(1, Figure(0.5))])], evil, evil)
    svg = drawing(line_chart(plot))
    assert svg.attrib["role"] == "img"
    assert evil in svg.attrib["aria-label"]
    assert not list(svg.iter("script"))
    assert any(evil in (title.text or "") for title in svg.iter("title"))
