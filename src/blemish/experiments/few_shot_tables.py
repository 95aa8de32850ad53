"""The tables of AnomalyDiffusion's experiment: localisation, what real defects gain, classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy as np

from blemish.experiments import printed
from blemish.experiments.few_shot import GENERATED, PLUS, REAL
from blemish.experiments.runs import Redrawn, Runs
from blemish.experiments.tables import Column, Figure, Row, Table, mean_of
from blemish.metrics import wilson

LOCALISATION = (
    Column("pixel_auroc", "pixel AUROC"),
    Column("pixel_ap", "pixel AP"),
    Column("pixel_f1_max", "pixel F1-max"),
    Column("pro", "PRO"),
    Column("image_auroc", "image AUROC"),
    Column("image_ap", "image AP"),
    Column("image_f1_max", "image F1-max"),
)
AT_SCALE = "with the networks and counts of this scale"
INTERVALS = ("pixel_ap", "image_auroc")

_LOCALISED = ("anomalydiffusion-10", "anomalydiffusion-11")
_CLASSIFIED = ("anomalydiffusion-4",)
_DETECTORS = ("anomalydiffusion-5", "anomalydiffusion-12")


def localisation_table(product: str, runs: Mapping[str, Runs], drawn: Redrawn) -> Table:
    """Return a product's table: a row a method, means over the seeds, beside the paper's."""
    rows = []
    for method, found in runs.items():
        figures = {}
        for column in LOCALISATION:
            value = found.mean(column.key)
            known = column.key in INTERVALS and value is not None
            figures[column.key] = drawn.figure(method, column.key, value) if known else Figure(value)
        rows.append(Row(method, figures))
    quoted = printed_rows({product: runs})
    caption = (
        f"A localiser trained on each source, {AT_SCALE}; judged on the unread defects and the good "
        f"test photos. {_seeds(runs)}; intervals over test photos."
    )
    return Table(
        f"{product}: localisation and detection",
        LOCALISATION,
        [*rows, *quoted],
        printed.captioned(caption, quoted),
        "trained on",
    )


def gain_table(product: str, runs: Mapping[str, Runs], drawn: Redrawn) -> Table | None:
    """Return what generated plus real has over others, on the same redrawn photos; None without it."""
    best = f"{GENERATED}{PLUS}{REAL}"
    if best not in runs:
        return None
    columns = [c for c in LOCALISATION if c.key in INTERVALS]
    rows = []
    for method in runs:
        if method == best:
            continue
        figures = {}
        for column in columns:
            ours, other = runs[best].mean(column.key), runs[method].mean(column.key)
            if ours is not None and other is not None:
                figures[column.key] = drawn.gain(best, method, column.key, ours - other)
        rows.append(Row(f"over {method}", figures))
    return Table(
        f"{product}: what {best} has over the others",
        [Column(c.key, c.title, "none") for c in columns],
        rows,
        "Differences on the same redrawn test photos: an interval without 0 separates the two.",
        "gain",
    )


def type_table(product: str, runs: Mapping[str, Runs], key: str = "pixel_ap") -> Table:
    """Return a figure by type of defect: where does a source help, and where does it hurt?"""
    types = sorted(next(iter(runs.values())).results[0]["per_type"])
    rows = [
        Row(method, {label: Figure(found.over_types(label, key)) for label in types})
        for method, found in runs.items()
    ]
    columns = [Column(label, label) for label in types]
    return Table(f"{product}: pixel AP by type", columns, rows, "", "trained on")


def chosen_on_test(runs: Mapping[str, Runs], columns: Sequence[Column]) -> list[Row]:
    """Return a row for each method, of the weights that do best on the test photos."""
    return [
        Row(method, {c.key: Figure(found.mean(c.key, "test_selected")) for c in columns})
        for method, found in runs.items()
    ]


def papers_protocol_table(product: str, runs: Mapping[str, Runs]) -> Table:
    """Return the papers' protocol: weights chosen on the test photos themselves, and so too good."""
    rows = chosen_on_test(runs, LOCALISATION)
    quoted = printed_rows({product: runs})
    caption = (
        "The weights that do best on the test photos, as the papers choose them: for comparison with "
        "printed figures only. The tables above choose on held-out training data."
    )
    return Table(
        f"{product}: the papers' protocol",
        LOCALISATION,
        [*rows, *quoted],
        printed.captioned(caption, quoted),
        "trained on",
    )


def classification_table(product: str, runs: Mapping[str, Runs], weights: str | None = None) -> Table:
    """Return the accuracy of classifiers of the type, whole and by type; weights: they began with."""
    types = sorted(next(iter(runs.values())).results[0]["per_type"])
    rows = []
    for method, found in runs.items():
        accuracy = _accuracy(found)
        photos = int(found.results[0]["photos"])
        low, high = wilson(round(accuracy * photos), photos)
        shares = {
            label: Figure(float(np.mean([r["per_type"][label] for r in found.results])))
            for label in types
        }
        rows.append(Row(method, {"accuracy": Figure(accuracy, low, high), **shares}))
    columns = [Column("accuracy", "accuracy"), *(Column(label, label) for label in types)]
    quoted = printed.printed_rows(printed.products_of({product: runs}), _CLASSIFIED)
    caption = f"{_classified(weights)} {_seeds(runs)}."
    return Table(
        f"{product}: classification",
        columns,
        [*rows, *quoted],
        printed.captioned(caption, quoted),
        "trained on",
    )


def classification_averages(
    groups: Mapping[str, Mapping[str, Runs]], title: str, weights: str | None = None
) -> Table:
    """Return mean accuracies over the products that have classifiers, beside the paper's.

    groups: runs by product and method; weights: that the classifiers began with.
    """
    rows = []
    for method, all_runs in _in_all(groups).items():
        accuracy = float(np.mean([_accuracy(found) for found in all_runs]))
        rows.append(Row(method, {"accuracy": Figure(accuracy)}))
    quoted = _averages(groups, _CLASSIFIED)
    return Table(
        title,
        [Column("accuracy", "accuracy")],
        [*rows, *quoted],
        printed.captioned(f"Mean over the products. {_classified(weights)}", quoted),
        "trained on",
    )


def _classified(weights: str | None) -> str:
    """Return what the accuracies are of. weights: that the classifiers began with."""
    begun = "from scratch" if weights is None else f"from {PurePath(weights).name}"
    return (
        f"A ResNet-34, {begun}, trained on each source, {AT_SCALE}; share of unread defects whose type "
        "it names, by the weights that do best on held-out pairs."
    )


def _accuracy(found: Runs) -> float:
    """Return the mean accuracy over the seeds."""
    return float(np.mean([result["accuracy"] for result in found.results]))


def _seeds(runs: Mapping[str, Runs]) -> str:
    """Return how many seeds the figures are means of, and what the seeds share."""
    seeds = len(next(iter(runs.values())).results)
    if seeds == 1:
        return "Mean of 1 seed"
    return f"Mean of {seeds} seeds, which share one generator and one set of pairs"


def average_table(groups: Mapping[str, Mapping[str, Runs]], title: str) -> Table:
    """Return means over all products, with the papers' figures where the products are MVTec AD's."""
    methods = dict.fromkeys(method for runs in groups.values() for method in runs)
    common = _in_all(groups)
    rows = []
    for method in methods:
        figures = {}
        for column in LOCALISATION:
            value = mean_of(found.mean(column.key) for found in common.get(method, ()))
            if value is not None:
                figures[column.key] = Figure(value)
        rows.append(Row(method, figures))
    quoted = _averages(groups, _LOCALISED)
    caption = printed.captioned("Mean over the products.", quoted)
    return Table(title, LOCALISATION, [*rows, *quoted], caption, "trained on")


def detectors_table(groups: Mapping[str, Mapping[str, Runs]], title: str) -> Table | None:
    """Return what the paper prints of detectors that learn from good photos, or from few real defects.

    None unless the products are MVTec AD's.
    """
    rows = _averages(groups, _DETECTORS)
    keys = ("pixel_auroc", "pixel_ap", "pixel_f1_max")
    columns = [column for column in LOCALISATION if column.key in keys]
    caption = (
        "Detectors as their authors train them, for comparison with the localisers. The paper's DRAEM "
        "and PRN of the tables above are localisers trained on what these methods draw."
    )
    return Table(title, columns, rows, printed.captioned(caption, rows), "detector") if rows else None


def printed_rows(groups: Mapping[str, Mapping[str, Runs]]) -> list[Row]:
    """Return the paper's localisers on these products; none unless all are MVTec AD's."""
    return printed.printed_rows(printed.products_of(groups), _LOCALISED)


def _averages(groups: Mapping[str, Mapping[str, Runs]], names: Sequence[str]) -> list[Row]:
    """Return the means of printed figures over the products, and the paper's own, where it has them."""
    products = printed.products_of(groups)
    return [*printed.printed_rows(products, names), *printed.printed_averages(products, names)]


def _in_all(groups: Mapping[str, Mapping[str, Runs]]) -> dict[str, list[Runs]]:
    """Return the runs of each method that all products have, in the order of the first product."""
    every = list(groups.values())
    return {
        method: [runs[method] for runs in every]
        for method in every[0]
        if all(method in runs for runs in every)
    }
