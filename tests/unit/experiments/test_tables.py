from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blemish.experiments.tables import (
    Column,
    Experiment,
    Figure,
    Gallery,
    Plot,
    Row,
    Series,
    Table,
    as_json,
    legend,
    markdown,
    marks,
    plot_table,
)

HOSTILE = [
    "a | b",
    "a \\| b \\",
    "<script>alert('x')</script> &amp; <b>",
    "**bold** _slanted_ `code` ~~gone~~ [link](javascript:x) ![x](y)",
    "first\n\n# second\r\n---",
    "---",
    "1. one",
    "* star",
]


class Cells(HTMLParser):
    """Rows of text of all tables, and every tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def shown(text: str) -> str:
    """The HTML of Markdown: CommonMark with the tables of GitHub."""
    markdown_it = pytest.importorskip("markdown_it")
    return str(markdown_it.MarkdownIt("commonmark").enable("table").render(text))


def one(value: float | None, **changes: object) -> Row:
    return Row("row", {"a": Figure(value)}, **changes)


def ranked(*values: float | None, better: str = "higher", digits: int = 3) -> list[str | None]:
    table = Table("t", [Column("a", "A", better, digits)], [one(value) for value in values])
    return [found.get("a") for found in marks(table)]


@pytest.mark.parametrize("undefined", [None, float("nan"), float("inf"), np.float32("nan")])
def test_what_is_not_a_number_is_undefined_and_shown_as_a_dash(undefined: float | None) -> None:
    assert Figure(undefined, 0.1, 0.2).shown(3) == ("–", "")
    assert Figure(0.5, undefined, 0.6).shown(3) == ("0.500", "")


def test_a_figure_is_shown_with_its_interval_and_as_many_digits_as_asked_for() -> None:
    assert Figure(0.53349, 0.501, 0.561).shown(3) == ("0.533", "[0.501, 0.561]")
    assert Figure(12, 11.26, 13).shown(1) == ("12.0", "[11.3, 13.0]")
    assert Figure(388).shown(0) == ("388", "")
    assert Figure(-0.0001).shown(3) == ("0.000", "")


def test_the_best_and_the_second_are_marked_at_the_end_that_is_better() -> None:
    assert ranked(0.1, 0.3, 0.2) == [None, "best", "second"]
    assert ranked(0.1, 0.3, 0.2, better="lower") == ["best", None, "second"]
    assert ranked(0.1, 0.3, 0.2, better="none") == [None, None, None]


def test_figures_that_look_equal_share_their_mark() -> None:
    assert ranked(0.5001, 0.4999, 0.4, 0.3) == ["best", "best", "second", None]
    assert ranked(0.5001, 0.4999, 0.4, 0.3, digits=4) == ["best", "second", None, None]


def test_a_mark_is_for_beating_another_row() -> None:
    assert ranked(0.5) == [None]
    assert ranked(0.5, 0.5) == [None, None]
    assert ranked(0.5, 0.4) == ["best", None]
    assert ranked(0.5, None) == [None, None]


def test_what_a_paper_prints_does_not_compete_and_imported_pictures_do() -> None:
    rows = [one(0.9, origin="printed"), one(0.5, origin="imported"), one(0.4)]
    assert marks(Table("t", [Column("a", "A")], rows)) == [{}, {"a": "best"}, {}]


def test_the_legend_tells_the_signs_that_occur_and_no_others() -> None:
    columns = [Column("a", "A")]
    assert legend(Table("t", columns, [one(0.5)])) == ""
    told = legend(Table("t", columns, [one(0.5), one(0.4), one(0.9, origin="printed")]))
    assert "best" in told
    assert "†" in told
    assert not re.search(r"second|‡|interval", told)
    row = Row("x", {"a": Figure(0.5, 0.4, 0.6)}, "imported")
    assert "interval" in legend(Table("t", columns, [row]))
    assert "‡" in legend(Table("t", columns, [row]))


def test_means_of_what_papers_print_are_called_so_and_do_not_compete() -> None:
    columns = [Column("a", "A")]
    table = Table("t", columns, [one(0.9, origin="averaged"), one(0.5), one(0.4)])
    assert marks(table) == [{}, {"a": "best"}, {}]
    told = legend(table)
    assert "Bold: best (of the rows scored here, by the digits shown)." in told
    assert "§ mean over these products" in told
    assert "†" not in told
    assert "| _row_ § | _0.900_ |" in markdown(Experiment("T", "L", [table]))


def test_markdown_has_a_cell_for_each_figure_with_its_mark_and_a_dash_where_there_is_none() -> None:
    columns = [Column("a", "AP", meaning="area"), Column("k", "KID", "lower", 1)]
    rows = [
        Row("ours", {"a": Figure(0.533, 0.501, 0.561), "k": Figure(9)}, note="8 minutes"),
        Row("theirs", {"a": Figure(0.4)}, "imported"),
        Row("third", {"a": Figure(0.5)}),
        Row("paper", {"a": Figure(0.7)}, "printed"),
    ]
    text = markdown(Experiment("T", "L", [Table("t", columns, rows, subject="method")]))
    assert [line for line in text.splitlines() if line.startswith("|")] == [
        "| method | AP ↑ | KID ↓ | note |",
        "| --- | --: | --: | --- |",
        "| ours | **0.533** [0.501, 0.561] | 9.0 | 8 minutes |",
        "| theirs ‡ | 0.400 | – |  |",
        "| third | <ins>0.500</ins> | – |  |",
        "| _paper_ † | _0.700_ | _–_ |  |",
    ]
    assert "* AP: area" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_names_from_outside_show_in_markdown_as_they_are(name: str) -> None:
    table = Table(
        name, [Column("a", name, "none", meaning=name)], [Row(name, {}, note=name)], name, name
    )
    experiment = Experiment(name, name, [table], notes=[name], facts={name: name}, command=name)
    html = shown(markdown(experiment))
    expected = " ".join(name.split())
    read = Cells(html)
    assert read.rows[:2] == [[expected, expected, "note"], [expected, "–", expected]]
    assert read.rows[3] == [expected, expected]
    blocks = {"h1", "h2", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"}
    assert set(read.tags) <= blocks
    assert read.tags.count("code") == 1
    assert read.tags.count("li") == 2
    assert read.tags.count("h2") == 3


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1))
def test_any_text_survives_a_cell_of_markdown(name: str) -> None:
    table = Table("t", [Column("a", "A")], [Row(f"x{name}x", {}, "printed")])
    html = shown(markdown(Experiment("T", "L", [table])))
    assert Cells(html).rows[1] == [" ".join(f"x{name}x".split()) + " †", "–"]


def test_a_plot_is_a_table_with_a_row_for_each_x_and_a_dash_where_a_line_has_no_point() -> None:
    plot = Plot(
        "p",
        [Series("s", [(4, Figure(0.4)), (1, Figure(0.1))]), Series("t", [(1, Figure(0.2))])],
        "n",
        "AP",
    )
    table = plot_table(plot)
    assert (table.subject, table.caption) == ("n", "AP")
    assert [column.title for column in table.columns] == ["s", "t"]
    values = [(row.name, [row.figure(c.key).value for c in table.columns]) for row in table.rows]
    assert values == [("1", [0.1, 0.2]), ("4", [0.4, None])]
    assert marks(table) == [{}, {}]


def test_json_holds_every_figure_and_note_and_no_picture() -> None:
    table = Table(
        "t", (Column("a", "A"),), [Row("r", {"a": Figure(np.float32(0.5), 0.25, float("nan"))})]
    )
    plot = Plot("p", [Series("s", [(np.int64(2), Figure(None))])], "n", "AP")
    gallery = Gallery("g", ["photo"], [("", [np.zeros((2, 2, 3), np.uint8)])])
    experiment = Experiment("T", "L", [table], [plot], [gallery], ["n"], {"seed": "1"}, "run")
    found = json.loads(json.dumps(as_json(experiment), allow_nan=False))
    assert set(found) == {"title", "lead", "tables", "plots", "notes", "facts", "command"}
    (row,) = found["tables"][0]["rows"]
    assert row["figures"] == {"a": {"value": 0.5, "low": 0.25, "high": None}}
    assert row["origin"] == "measured"
    assert found["tables"][0]["columns"][0]["key"] == "a"
    (line,) = found["plots"][0]["series"]
    assert line["points"] == [[2, {"value": None, "low": None, "high": None}]]
    assert (found["notes"], found["facts"], found["command"]) == (["n"], {"seed": "1"}, "run")


def test_where_figures_are_printed_is_told_once_below_the_table() -> None:
    rows = [
        Row("ours", {"a": Figure(0.5)}),
        Row("theirs", {"a": Figure(0.6)}, "printed", "B, Table 1; B, Table 2"),
        Row("others", {"a": Figure(0.7)}, "printed", "B, Table 2"),
        Row("mean", {"a": Figure(0.7)}, "averaged", "C, Table 3"),
    ]
    table = Table("T", [Column("a", "A")], rows, subject="method")
    text = markdown(Experiment("t", "l", [table]))
    assert "† as printed, not measured here (B, Table 1; B, Table 2)." in legend(table)
    assert "of each, not measured here (C, Table 3)." in legend(table)
    assert "| method | A ↑ |\n" in text
    assert text.count("Table 2") == 1
