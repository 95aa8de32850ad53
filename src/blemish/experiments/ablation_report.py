"""What an ablation's report shows beside its table: the paper's figures, curves and normal looks."""

from __future__ import annotations

from collections.abc import Mapping

from blemish.experiments.detection_tables import COLUMNS
from blemish.experiments.galleries import GALLERY, read_gallery
from blemish.experiments.reported import reported
from blemish.experiments.runs import Redrawn, Runs
from blemish.experiments.tables import Column, Figure, Gallery, Plot, Row, Series, Table
from blemish.experiments.variants import CURVES, PRINTED, SHOWN

_SPEED = Column("frames_per_second", "frames/s", digits=2)


def printed_tables(variant: str) -> list[Table]:
    """Return what the paper prints of an ablation; shares in [0, 1], as those that are measured."""
    if variant not in PRINTED:
        return []
    table = reported(PRINTED[variant])
    columns = [column for column in (*COLUMNS, _SPEED) if column.key in table.units]
    whole = {key: 100 if unit == "%" else 1 for key, unit in table.units.items()}
    rows = [
        Row(name, {key: Figure(value / whole[key]) for key, value in values.items()}, "printed")
        for name, values in table.rows.items()
    ]
    caption = f"Printed in {table.source}: means over the products of {table.benchmark}. "
    return [Table(f"As printed: {table.what}", columns, rows, caption + (table.note or ""), "variant")]


def curves(product: str, variant: str, runs: Mapping[str, Runs]) -> list[Plot]:
    """Return how figures follow what is changed, where it is a number."""
    if variant not in CURVES:
        return []
    curve, drawn = CURVES[variant], Redrawn(runs)

    def at(row: str) -> Figure:
        return drawn.figure(row, curve.key, runs[row].mean(curve.key))

    series = [
        Series(name, [(x, at(row)) for row, x in rows.items() if row in runs])
        for name, rows in curve.series.items()
        if runs.keys() & rows.keys()
    ]
    return [Plot(f"{product}: {variant}", series, curve.x, curve.y)]


def normal_looks(product: str, variant: str, runs: Mapping[str, Runs]) -> list[Gallery]:
    """Return some test photos beside what each row's first detector makes of them.

    Nothing where a detector was finished by a version that kept no pictures.
    """
    rows = [row for row in runs if row in SHOWN.get(variant, runs)]
    places = [runs[row].folders[0] / GALLERY for row in rows]
    if not all(place.is_file() for place in places):
        return []
    found = [read_gallery(place) for place in places]
    looks = [
        (same[0][0], [same[0][1][0], *(pictures[1] for _, pictures in same)])
        for same in zip(*found, strict=True)
    ]
    return [Gallery(f"{product}: the normal look", ("photo", *rows), looks)]
