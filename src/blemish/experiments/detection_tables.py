"""The tables of DiffusionAD's experiment, and of ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from blemish.data import Dataset
from blemish.experiments.few_shot_tables import AT_SCALE, LOCALISATION, chosen_on_test
from blemish.experiments.printed import (
    Products,
    average_name,
    captioned,
    noted_source,
    printed_rows,
    products_of,
    whole_tables,
)
from blemish.experiments.reported import reported
from blemish.experiments.runs import Redrawn, Runs
from blemish.experiments.score_maps import costs, scored_maps
from blemish.experiments.tables import Column, Figure, Row, Table, mean_of
from blemish.experiments.variants import GENERATION

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
_LOCALISERS = (
    f"A localiser trained on the pairs of each variant, {AT_SCALE}; judged on the unread defects and "
    "the good test photos, each as a square of the size that it is trained at; weights chosen on "
    "held-out pairs and good photos. Means over the seeds; intervals over test photos redrawn."
)

_PER_PRODUCT = [f"diffusionad-{number}" for number in (1, 4, 5, 6, 7, 8)]
_OVERVIEW = "diffusionad-2"

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
    whole = products_of(runs)
    for product, methods in runs.items():
        own = _rows(methods, COLUMNS)
        mine = [*own, *imported.get(product, {}).values()]
        printed = printed_rows({product: whole[product]}, _PER_PRODUCT)
        caption = captioned(CAPTION, printed)
        tables.append(_table(product, COLUMNS, [*mine, *printed], caption, "method"))
        groups.append(mine)
    printed = [*printed_rows(whole, _PER_PRODUCT), *_printed_averages(whole)]
    return [*_averages(groups, COLUMNS, "method", printed), *tables]


def papers_protocol_table(product: str, runs: Mapping[str, Runs]) -> Table:
    """Return the figures of weights that were chosen on the test photos themselves, and so too good."""
    rows = chosen_on_test(runs, COLUMNS)
    printed = printed_rows(products_of({product: runs}), _PER_PRODUCT)
    caption = captioned(
        "Of each validation's weights those that do best on the test photos by image and pixel AUROC, "
        "as DiffusionAD's code chooses them: for comparison with printed figures only. The table above "
        "chooses on held-out good photos and drawn defects.",
        printed,
    )
    title = f"{product}: the papers' protocol"
    return Table(title, COLUMNS, [*rows, *printed], caption, "method")


def ablation_table(product: str, title: str, runs: Mapping[str, Runs]) -> Table:
    """Return a row for each variant. title: the ablation; those of the generator judge localisers."""
    localises = title in GENERATION
    columns, caption = (LOCALISATION, _LOCALISERS) if localises else (COLUMNS, CAPTION)
    return _table(f"{product}: {title}", columns, _rows(runs, columns), caption, "variant")


def averaged(tables: Sequence[Table]) -> list[Table]:
    """Return the means of an ablation over its products, a table for each; nothing of a single one."""
    costs_of = {column.key for column in COSTS}
    columns = [column for column in tables[0].columns if column.key not in costs_of]
    return _averages([table.rows for table in tables], columns, "variant")


def _averages(
    groups: Sequence[Sequence[Row]],
    columns: Sequence[Column],
    subject: str,
    printed: Sequence[Row] = (),
) -> list[Table]:
    """Return a table of means over groups of rows, by their names; nothing of a single group."""
    if len(groups) == 1:
        return []
    rows: dict[str, list[Row]] = {}
    for row in (row for group in groups for row in group):
        rows.setdefault(row.name, []).append(row)
    means = [_mean(name, found, columns) for name, found in rows.items() if len(found) == len(groups)]
    caption = captioned("Mean over the products.", printed)
    return [Table("All products", columns, [*means, *printed], caption, subject)]


def _table(
    title: str, columns: Sequence[Column], rows: Sequence[Row], caption: str, subject: str
) -> Table:
    """Return the table with the costs that are known of any row.

    Speeds that were not measured alike do not compete: an imported detector's is of its network alone.
    """
    known = [c for c in COSTS if any(row.figure(c.key).value is not None for row in rows)]
    if any(row.origin == "imported" for row in rows):
        known = [replace(c, better="none") if c.key == "photos_per_second" else c for c in known]
    return Table(title, (*columns, *known), rows, caption, subject)


def _rows(runs: Mapping[str, Runs], columns: Sequence[Column]) -> list[Row]:
    """Return a row for each method, with the intervals that redrawn photos give."""
    drawn = Redrawn(runs)
    rows = []
    for name, found in runs.items():
        figures = {column.key: Figure(found.mean(column.key)) for column in columns}
        figures |= {column.key: Figure(found.mean(column.key, "costs")) for column in COSTS}
        for key in ("pixel_ap", "image_auroc"):
            if figures[key].value is not None:
                figures[key] = drawn.figure(name, key, figures[key].value)
        rows.append(Row(name, figures))
    return rows


def _mean(name: str, rows: Sequence[Row], columns: Sequence[Column]) -> Row:
    figures = {c.key: Figure(mean_of(row.figure(c.key).value for row in rows)) for c in columns}
    return Row(name, figures, rows[0].origin)


def _printed_averages(products: Products) -> list[Row]:
    """Return DiffusionAD's own averages, where all products of a benchmark are at hand.

    They are those of the tables by product, and of more metrics.
    """
    tables = whole_tables(products, _PER_PRODUCT)
    if not tables:
        return []
    overview, benchmark = reported(_OVERVIEW), tables[0].benchmark
    notes = [overview.source, *(noted_source(table) for table in tables if table.note)]
    return [
        Row(
            average_name(method),
            {
                column.removeprefix(f"{benchmark}/"): Figure(value / 100)
                for column, value in values.items()
                if column.startswith(f"{benchmark}/")
            },
            "printed",
            "; ".join(notes),
        )
        for method, values in overview.rows.items()
    ]
