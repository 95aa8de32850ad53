"""What the papers print of the products at hand, as rows beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Literal, TypeAlias

from blemish.experiments.reported import ReportedTable, reported
from blemish.experiments.runs import Runs
from blemish.experiments.tables import Figure, Row

Products: TypeAlias = Mapping[str, Collection[str]]
"""The types of defects that products were judged on, by the products' names."""

MATCHED = (
    "Printed figures are found by the names of products and of types of defects, and are of the "
    "papers' photos, not necessarily of these."
)


def products_of(groups: Mapping[str, Mapping[str, Runs]]) -> dict[str, frozenset[str]]:
    """Return the types of defects that products were judged on. groups: runs by product and method."""
    return {
        product: frozenset(next(iter(runs.values())).results[0]["per_type"])
        for product, runs in groups.items()
    }


def printed_rows(products: Products, names: Iterable[str]) -> list[Row]:
    """Return what some tables print of a product, a row for each method; of several, the means.

    Tables in which one of the products cannot be are left out.
    """
    found = [table for table in map(reported, names) if table.covers(products)]
    origin: Literal["printed", "averaged"] = "printed" if len(products) == 1 else "averaged"
    return _rows(found, lambda table: table.average(products), origin)


def printed_averages(products: Products, names: Iterable[str]) -> list[Row]:
    """Return the averages that tables print themselves, of those that have rows of just these products.

    They are not always the means of their rows: the tables' notes stand beside them.
    """
    found = whole_tables(products, names)
    rows = _rows(found, lambda table: table.printed_average or {}, "printed", noted=True)
    return [Row(average_name(row.name), row.figures, row.origin, row.note) for row in rows]


def whole_tables(products: Products, names: Iterable[str]) -> list[ReportedTable]:
    """Return those tables that have rows of just these products."""
    found = (table for table in map(reported, names) if table.covers(products))
    return [table for table in found if len(table.rows) == len(products)]


def average_name(method: str) -> str:
    """Return the name of the row of a method's own average."""
    return f"{method}, printed average"


def noted_source(table: ReportedTable) -> str:
    """Return where a table comes from, and what is odd about it."""
    return f"{table.source}: {table.note.rstrip('.')}" if table.note else table.source


def captioned(caption: str, rows: Iterable[Row]) -> str:
    """Return a table's caption, with what must be known of its rows if papers print some of them."""
    return f"{caption} {MATCHED}" if any(row.quoted for row in rows) else caption


def _rows(
    tables: Iterable[ReportedTable],
    values: Callable[[ReportedTable], Mapping[str, float]],
    origin: Literal["printed", "averaged"],
    *,
    noted: bool = False,
) -> list[Row]:
    """Return a row for each method: its figures in all tables, shares in [0, 1], and their sources."""
    figures: dict[str, dict[str, Figure]] = {}
    notes: dict[str, dict[str, None]] = {}
    for table in tables:
        note = noted_source(table) if noted else table.source
        for column, value in values(table).items():
            method, metric = column.split("/")
            whole = 100 if table.units[column] == "%" else 1
            figures.setdefault(method, {})[metric] = Figure(value / whole)
            notes.setdefault(method, {})[note] = None
    return [Row(method, found, origin, "; ".join(notes[method])) for method, found in figures.items()]
