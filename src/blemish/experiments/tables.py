"""What an experiment found: the nouns of its report, and the report as Markdown and as JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from html import escape
from typing import Any, Literal

import numpy as np

from blemish.data.pictures import Photo

Mark = Literal["best", "second"]

ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
SIGNS = {"measured": "", "imported": "‡", "printed": "†", "averaged": "§"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and the ends of its 95 % interval; None = undefined, and so is what is not finite."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            known = number is not None and math.isfinite(number)
            object.__setattr__(self, name, float(number) if known else None)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the interval, where they and the value are known."""
        if self.value is None or self.low is None or self.high is None:
            return None
        return self.low, self.high

    def shown(self, digits: int) -> tuple[str, str]:
        """Return value and interval as text: a dash if undefined, an empty text if not given."""
        if self.value is None:
            return "–", ""
        ends = ", ".join(_decimal(end, digits) for end in self.interval or ())
        return _decimal(self.value, digits), f"[{ends}]" if ends else ""


def mean_of(values: Iterable[float | None]) -> float | None:
    """Return the mean; None where one of the values is undefined, or where there are none."""
    given = list(values)
    known = [value for value in given if value is not None]
    return float(np.mean(known)) if known and len(known) == len(given) else None


@dataclass(frozen=True, slots=True)
class Column:
    """One kind of figure. better: which end is good; meaning: what it says, in words."""

    key: str
    title: str
    better: Literal["higher", "lower", "none"] = "higher"
    digits: int = 3
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured, with its figures by `Column.key`; a missing key is a dash.

    origin: `measured` = run and scored here; `imported` = scored here from files that were given;
    `printed` = the figure that a paper prints; `averaged` = the mean of such figures, taken here.
    """

    name: str
    figures: Mapping[str, Figure]
    origin: Literal["measured", "imported", "printed", "averaged"] = "measured"
    note: str = ""

    @property
    def quoted(self) -> bool:
        """Whether its figures are a paper's, and so compete with no others."""
        return self.origin in ("printed", "averaged")

    def figure(self, key: str) -> Figure:
        """Return the figure of a column."""
        return self.figures.get(key, Figure(None))


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of figures. subject: what a row is, such as "method"."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot: its name and its points (x, figure), in any order."""

    name: str
    points: Sequence[tuple[float, Figure]]


@dataclass(frozen=True, slots=True)
class Plot:
    """Up to six lines over one axis. x, y: what the axes show; logarithmic: the x axis is."""

    title: str
    series: Sequence[Series]
    x: str
    y: str
    logarithmic: bool = False
    digits: int = 3


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Rows of pictures, uint8 RGB (H, W, 3), one for each of `heads`; a row has a name or ""."""

    title: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Photo]]]
    caption: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """All that the report tells.

    lead: what was asked and what came out; notes: what one must know before believing the figures;
    facts: what it takes to repeat them (protocol, seeds, versions, hashes), with `command`.
    """

    title: str
    lead: str
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    galleries: Sequence[Gallery] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def marks(table: Table) -> list[dict[str, Mark]]:
    """Return for each row which of its figures are best or second in their column, by key.

    Quoted rows do not compete. Figures that look equal are equal, and share a mark. A mark is for
    beating another row: of two rows at most one has it, and where all are equal, none.
    """
    found: list[dict[str, Mark]] = [{} for _ in table.rows]
    names: tuple[Mark, Mark] = ("best", "second")
    for column in table.columns:
        if column.better == "none":
            continue
        values = {
            place: round(value, column.digits)
            for place, row in enumerate(table.rows)
            if not row.quoted and (value := row.figure(column.key).value) is not None
        }
        ranks = sorted(set(values.values()), reverse=column.better == "higher")
        for mark, rank in zip(names, ranks[:-1], strict=False):
            for place, value in values.items():
                if value == rank:
                    found[place][column.key] = mark
    return found


def legend(table: Table) -> str:
    """Return what the signs in a table mean, of those that occur in it."""
    given = {mark for row in marks(table) for mark in row.values()}
    origins = {row.origin for row in table.rows}
    figures = [row.figure(column.key) for row in table.rows for column in table.columns]
    parts = []
    if given:
        second = "; underlined: second" if "second" in given else ""
        among = "of the rows scored here, " if any(row.quoted for row in table.rows) else ""
        parts.append(f"Bold: best{second} ({among}by the digits shown).")
    if any(figure.interval for figure in figures):
        parts.append("In brackets: 95 % interval.")
    if "printed" in origins:
        parts.append(f"† as printed, not measured here{_sources(table, 'printed')}.")
    if "averaged" in origins:
        what = "mean over these products of what is printed of each, not measured here"
        parts.append(f"§ {what}{_sources(table, 'averaged')}.")
    if "imported" in origins:
        parts.append("‡ scored here from files that were given.")
    return " ".join(parts)


def _sources(table: Table, origin: str) -> str:
    """Return where the figures of such rows are printed, each place once."""
    notes = (row.note for row in table.rows if row.origin == origin and row.note)
    places = dict.fromkeys(place for note in notes for place in note.split("; "))
    return f" ({'; '.join(places)})" if places else ""


def plot_table(plot: Plot) -> Table:
    """Return the points of a plot as a table: a row for each x, a column for each series."""
    lines = {str(place): dict(line.points) for place, line in enumerate(plot.series)}
    columns = [
        Column(key, line.name, "none", plot.digits)
        for key, line in zip(lines, plot.series, strict=True)
    ]
    rows = [
        Row(f"{x:.10g}", {key: points[x] for key, points in lines.items() if x in points})
        for x in sorted({x for points in lines.values() for x in points})
    ]
    return Table(plot.title, columns, rows, caption=plot.y, subject=plot.x)


def as_json(experiment: Experiment) -> dict[str, Any]:
    """Return all but the pictures, as JSON can hold it: undefined figures are None."""
    return {
        part.name: _bare(getattr(experiment, part.name))
        for part in fields(experiment)
        if part.name != "galleries"
    }


def markdown(experiment: Experiment) -> str:
    """Return the report without plots and pictures, as GitHub shows Markdown."""
    blocks = [f"# {_plain(experiment.title)}", _plain(experiment.lead)]
    if experiment.notes:
        blocks += ["## Before you trust these numbers", _listed(experiment.notes)]
    for table in [*experiment.tables, *map(plot_table, experiment.plots)]:
        meanings = (f"{c.title}: {c.meaning}" for c in table.columns if c.meaning)
        blocks += [f"## {_plain(table.title)}", _plain(table.caption), _grid(table)]
        blocks += [_plain(legend(table)), _listed(meanings)]
    if experiment.galleries:
        titles = "; ".join(_plain(gallery.title) for gallery in experiment.galleries)
        blocks += ["## Pictures", f"In [report.html](report.html): {titles}."]
    if experiment.facts or experiment.command:
        blocks.append("## How to repeat this")
    if experiment.facts:
        facts = ([_plain(name), _plain(value)] for name, value in experiment.facts.items())
        blocks.append(_piped([["fact", "value"], ["---", "---"], *facts]))
    # Indented, not fenced: no text can end such a block.
    blocks.append("\n".join(f"    {line}" for line in experiment.command.splitlines()))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _grid(table: Table) -> str:
    own = [row.note if not row.quoted else "" for row in table.rows]  # the legend has the others
    noted = any(own)
    heads = [f"{_plain(column.title)} {ARROWS[column.better]}".strip() for column in table.columns]
    lines = [
        [_plain(table.subject), *heads, *["note"] * noted],
        ["---", *["--:"] * len(heads), *["---"] * noted],
    ]
    for row, note, marked in zip(table.rows, own, marks(table), strict=True):
        slant = "_" if row.quoted else ""
        line = [f"{slant}{_plain(row.name)}{slant} {SIGNS[row.origin]}".strip()]
        for column in table.columns:
            value, interval = row.figure(column.key).shown(column.digits)
            # GitHub underlines <ins>; it drops <u>, and _ is taken by what papers print.
            before, after = {"best": ("**", "**"), "second": ("<ins>", "</ins>")}.get(
                marked.get(column.key, ""), (slant, slant)
            )
            line.append(f"{before}{value}{after} {interval}".strip())
        lines.append([*line, *[_plain(note)] * noted])
    return _piped(lines)


def _piped(lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _listed(items: Iterable[str]) -> str:
    return "\n".join(f"* {_plain(item)}" for item in items)


def _plain(text: str) -> str:
    """Return Markdown that shows the text as it is, on one line, whatever is in it."""
    line = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", escape(" ".join(text.split()), quote=False))
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", line)


def _decimal(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: a zero has no sign


def _bare(value: Any) -> Any:
    """Return a record as a dictionary, and what it holds likewise."""
    if is_dataclass(value):
        return {part.name: _bare(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
