"""The tables of DiffusionAD's experiment, and of ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from blemish.data import Dataset
from blemish.experiments.few_shot_tables import LOCALISATION
from blemish.experiments.reported import ReportedTable, reported, table_names
from blemish.experiments.runs import Redrawn, Runs
from blemish.experiments.score_maps import costs, scored_maps
from blemish.experiments.tables import Column, Figure, Row, Table

_AFTER_PRO = [column.key for column in LOCALISATION].index("pro") + 1
COLUMNS = (
    *LOCALISATION[:_AFTER_PRO],
    Column("pro_rescaled", "PRO, rescaled"),
    *LOCALISATION[_AFTER_PRO:],
)
CAPTION = (
    "Judged on the test photos at their own resolution; weights chosen on held-out good photos and "
    "drawn defects. Means over the seeds; intervals over test photos redrawn, of maps at 256 pixels. "
    "DiffusionAD's own printed PRO is the rescaled one."
)

COSTS = (
    Column("train_minutes", "training, min", "lower", 1),
    Column(
        "photos_per_second",
        "photos/s",
        digits=1,
        meaning="on the machine that measured, from decoded photos to maps, eight at a time; of an "
        "imported detector in its network alone, one at a time",
    ),
    Column(
        "memory_mib",
        "memory, MiB",
        "lower",
        0,
        "the most that the process has held until then, with the libraries",
    ),
)


def imported_rows(
    dataset: Dataset, product: str, maps: Mapping[str, Path], *, single: bool
) -> dict[str, Row]:
    """Return the figures of other detectors from their score maps.

    maps: name and folder, which holds a folder for each product unless there is a `single` one.
    """
    found = {}
    for name, folder in maps.items():
        own = folder if single and (folder / "maps").is_dir() else folder / product
        scored = scored_maps(dataset.test, own, dataset.root)
        values = scored.figures() | costs(own)
        figures = {key: Figure(value) for key, value in values.items()}
        found[name] = Row(name, figures, "imported")
    return found


def product_table(
    runs: Mapping[str, Mapping[str, Runs]], imported: Mapping[str, Mapping[str, Row]]
) -> list[Table]:
    """Return a table for each product, and the means over all of them beside the paper's."""
    tables, groups = [], []
    for product, methods in runs.items():
        drawn = Redrawn(methods)
        own = [_row(method, found, drawn) for method, found in methods.items()]
        mine = [*own, *imported.get(product, {}).values()]
        printed = _printed([product])
        tables.append(_table(product, [*mine, *printed], "method"))
        groups.append(mine)
    return [*_averages(groups, "method", _printed(list(runs))), *tables]


def ablation_table(product: str, title: str, runs: Mapping[str, Runs]) -> Table:
    """Return a row for each variant."""
    drawn = Redrawn(runs)
    rows = [_row(variant, found, drawn) for variant, found in runs.items()]
    return _table(f"{product}: {title}", rows, "variant")


def averaged(tables: Sequence[Table]) -> list[Table]:
    """Return the means of an ablation over its products, a table for each; nothing of a single one."""
    return _averages([table.rows for table in tables], "variant")


def _averages(
    groups: Sequence[Sequence[Row]], subject: str, printed: Sequence[Row] = ()
) -> list[Table]:
    """Return a table of means over groups of rows, by their names; nothing of a single group."""
    if len(groups) == 1:
        return []
    rows: dict[str, list[Row]] = {}
    for row in (row for group in groups for row in group):
        rows.setdefault(row.name, []).append(row)
    means = [_mean(name, found) for name, found in rows.items() if len(found) == len(groups)]
    return [Table("All products", COLUMNS, [*means, *printed], "Mean over the products.", subject)]


def _table(title: str, rows: Sequence[Row], subject: str) -> Table:
    """Return the table with the costs that are known of any row."""
    known = [c for c in COSTS if any(row.figure(c.key).value is not None for row in rows)]
    return Table(title, (*COLUMNS, *known), rows, CAPTION, subject)


def _row(name: str, found: Runs, drawn: Redrawn) -> Row:
    figures = {column.key: Figure(found.mean(column.key)) for column in COLUMNS}
    figures |= {column.key: Figure(found.mean(column.key, "costs")) for column in COSTS}
    for key in ("pixel_ap", "image_auroc"):
        if figures[key].value is not None:
            figures[key] = drawn.figure(name, key, figures[key].value)
    return Row(name, figures)


def _mean(name: str, rows: Sequence[Row]) -> Row:
    figures = {}
    for column in COLUMNS:
        values = [row.figure(column.key).value for row in rows]
        known = [value for value in values if value is not None]
        figures[column.key] = Figure(float(np.mean(known)) if len(known) == len(values) else None)
    return Row(name, figures, rows[0].origin)


def _printed(products: Sequence[str]) -> list[Row]:
    """Return what DiffusionAD's tables print, averaged over these products; [] without all of them."""
    figures: dict[str, dict[str, Figure]] = {}
    sources: dict[str, list[str]] = {}
    for table in _per_product_tables():
        if not set(products) <= set(table.rows):
            continue
        for column, value in table.average(products).items():
            method, metric = column.split("/")
            figures.setdefault(method, {})[metric] = Figure(value / 100)
            if table.source not in sources.setdefault(method, []):
                sources[method].append(table.source)
    return [Row(m, found, "printed", "; ".join(sources[m])) for m, found in figures.items()]


def _per_product_tables() -> list[ReportedTable]:
    tables = [reported(name) for name in table_names() if name.startswith("diffusionad-")]
    return [
        table
        for table in tables
        if table.benchmark is not None and all("/" in c and table.units[c] == "%" for c in table.units)
    ]
