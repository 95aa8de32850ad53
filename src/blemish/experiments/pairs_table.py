"""How many pairs there were to learn from: what one must know before comparing their sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from blemish.experiments.tables import Column, Figure, Row, Table
from blemish.records import Record

_ALL = "all pairs"


def pairs_table(
    product: str,
    sources: Mapping[str, Sequence[Record]],
    types: Sequence[str],
    asked: int,
    subject: str = "source",
) -> Table:
    """Return the number of pairs of each source, of each type and in all.

    types: of the product; asked: pairs of each type that a generator was asked for.
    """
    every = [Column(label, label, "none", 0) for label in types]
    rows = []
    for name, records in sources.items():
        counts = Counter(record.label for record in records)
        typed = counts.keys() & set(types)
        figures = {label: Figure(counts[label]) for label in types} if typed else {}
        rows.append(Row(name, {**figures, _ALL: Figure(len(records))}))
    return Table(
        f"{product}: pairs to learn from",
        [*every, Column(_ALL, "all", "none", 0)],
        rows,
        f"Photos of defects with masks. Of what is generated, {asked} of each type were asked for: the "
        "others did not pass the gate. A dash: its pairs are of no type of the product.",
        subject,
    )
