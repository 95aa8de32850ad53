"""What the two papers print: their tables, copied as they stand, to be compared with.

`reported.json` holds the figures. Only names were changed: rows are the categories' folders as the
benchmarks are distributed (`metal_nut`, `Class1`), metrics are called as in `evaluation`, "Ours" is
the method's own name. Shares are in per cent, as printed; those of `evaluation` are in [0, 1].

It also holds the types of defects of each category, by which a product is known that only has its name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from blemish.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ReportedTable:
    """One table of a paper.

    source: paper, arXiv number and table. benchmark: a name that `read_benchmark` knows, None for a
    table over several. rows: category (or variant, or method), then column, then figure; a column is
    `method/metric`, or just `metric` in an ablation. units: of each column, `%`, `1` or `1/s`.
    printed_average: the paper's row of averages, None where it has none. note: what is odd about it.
    """

    source: str
    what: str
    benchmark: str | None
    rows: Mapping[str, Mapping[str, float]]
    units: Mapping[str, str]
    printed_average: Mapping[str, float] | None
    note: str | None

    def average(self, rows: Iterable[str] | None = None) -> dict[str, float]:
        """Return the mean of each column over some rows (default: all), recomputed.

        It differs from `printed_average` by rounding, and where the paper's own average is wrong: in
        AnomalyDiffusion, those of Tables 2 and 10 leave out bottle.
        """
        chosen = [self.rows[row] for row in (self.rows if rows is None else rows)]
        return {column: fmean(row[column] for row in chosen) for column in self.units}

    def covers(self, products: Mapping[str, Collection[str]]) -> bool:
        """Return whether these can be categories of the benchmark, of which it has rows.

        products: the types of defects of each by its name. Not of a benchmark is who has a type that
        the category of that name has not; what has its types as well cannot be told from it.
        """
        known = _content()["defects"].get(self.benchmark, {})
        return bool(products) and all(
            name in self.rows and name in known and set(types) <= set(known[name])
            for name, types in products.items()
        )


def reported(name: str) -> ReportedTable:
    """Return a table of a paper by its name, such as `anomalydiffusion-10` or `diffusionad-5`.

    Raises:
        ConfigError: there is no such table.
    """
    content = _content()
    if name not in content["tables"]:
        raise ConfigError(
            f"no table is called {name!r}", hint=f"choose from: {', '.join(table_names())}"
        )
    table = content["tables"][name]
    metrics = table["metrics"]
    columns = [f"{group}/{metric}" for group in table["groups"] for metric in metrics] or metrics

    def named(figures: list[float]) -> dict[str, float]:
        return dict(zip(columns, figures, strict=True))

    paper, average = table["paper"], table["average"]
    return ReportedTable(
        source=f"{paper} (arXiv:{content['papers'][paper]}), Table {table['table']}",
        what=table["what"],
        benchmark=table["benchmark"],
        rows={row: named(figures) for row, figures in table["rows"].items()},
        units={column: content["units"][column.split("/")[-1]] for column in columns},
        printed_average=None if average is None else named(average),
        note=table["note"],
    )


def table_names() -> tuple[str, ...]:
    """Return the names of all tables that there are, by paper and number."""
    return tuple(_content()["tables"])


@cache
def _content() -> Any:
    return json.loads(Path(__file__).with_name("reported.json").read_text(encoding="utf-8"))
