"""One command for each experiment: products in, cells run, one report out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from blemish.errors import ConfigError
from blemish.experiments import early, few_shot, few_shot_tables
from blemish.experiments.ablation import ablation
from blemish.experiments.detection import DetectorCell
from blemish.experiments.detection_tables import (
    imported_rows,
    papers_protocol_table,
    product_table,
)
from blemish.experiments.evaluation import refuse_untested
from blemish.experiments.fidelity import fidelity_averages, fidelity_cells, fidelity_table, merged
from blemish.experiments.galleries import GALLERY, HEADS, LOOK_HEADS, pairs_gallery, read_gallery
from blemish.experiments.grid import Cell, Result, run_grid
from blemish.experiments.loop import (
    loop_cells,
    loop_plots,
    loop_points,
    loop_table,
    recommendation,
)
from blemish.experiments.page import write_experiment
from blemish.experiments.pairs_table import pairs_table
from blemish.experiments.protocol import FewShot
from blemish.experiments.request import Request
from blemish.experiments.runs import Redrawn, Runs, grouped
from blemish.experiments.tables import Experiment, Gallery, Row, Table
from blemish.runtime import logger

METHOD = "DiffusionAD"
"""The row of our detectors."""


def reproduce(experiment: str, request: Request) -> Experiment:
    """Return an experiment's report, written to its folder as well, as far as it is after each product.

    experiment: `anomalydiffusion`, `diffusionad`, `loop` or `ablation`.

    Raises:
        ConfigError: there is no such experiment, or a seed is given twice.
    """
    if experiment not in EXPERIMENTS:
        raise ConfigError(
            f"there is no experiment {experiment!r}", hint=f"choose of: {', '.join(EXPERIMENTS)}"
        )
    if len(set(request.seeds)) < len(request.seeds):
        raise ConfigError(
            f"a seed is given twice: {', '.join(map(str, request.seeds))}", hint="give each once"
        )
    for found in EXPERIMENTS[experiment](request):
        write_experiment(request.out, found)
    logger.info("open %s", (request.out / "report.html").resolve())
    return found


def anomalydiffusion(request: Request) -> Iterator[Experiment]:
    """Yield the tables of AnomalyDiffusion: localisation, detection and classification."""
    others = (name for given in request.generated for name in (given, f"{given}+{few_shot.REAL}"))
    methods = tuple(dict.fromkeys((*(request.methods or few_shot.METHODS), *others)))
    tables: list[Table] = []
    galleries: list[Gallery] = []
    whole: dict[str, dict[str, Runs]] = {}
    judged: dict[str, Result] = {}
    classified: dict[str, dict[str, Runs]] = {}
    products = request.products()
    early.check_plan(request, [request.generator_settings()])
    splits = {name: FewShot.of(dataset) for name, dataset in products.items()}
    elsewhere = {
        name: few_shot.imported_pairs(
            split, methods, early.imported(request, name, single=len(products) == 1)
        )
        for name, split in splits.items()
    }
    early.check_weights(request, classifies=any(len(split.types) > 1 for split in splits.values()))
    early.check_photos(products.values())
    weights = request.scale.classifier.weights
    made: list[Cell] = []
    for name, dataset in products.items():
        product = few_shot.prepared(
            dataset,
            name,
            request.scale,
            request.out / name,
            split=splits[name],
            methods=methods,
            others=elsewhere[name],
            config=request.generator_settings(),
            plan=request.plan,
            device=request.devices[0],
        )
        judging = fidelity_cells(product, request.scale.pairs, request.lpips, request.inception)
        judged[name] = merged(run_grid(judging, request.out, request.devices))
        painted = product.sources.get(few_shot.GENERATED)
        galleries += [pairs_gallery(name, product.split.few, painted)] if painted else []
        cells = list(
            few_shot.localisation_cells(
                product, methods, request.scale, request.seeds, paper_protocol=request.paper_protocol
            )
        )
        results = run_grid(cells, request.out, request.devices)
        made += [*judging, *cells]
        runs = grouped(cells, results, request.out)[name]
        whole[name] = runs
        drawn = Redrawn(runs)
        tables.append(few_shot_tables.localisation_table(name, runs, drawn))
        tables.append(pairs_table(name, product.sources, product.split.types, request.scale.pairs))
        gains = few_shot_tables.gain_table(name, runs, drawn)
        tables += [gains] if gains else []
        tables.append(few_shot_tables.type_table(name, runs))
        tables.append(fidelity_table(name, judged[name]))
        if request.paper_protocol:
            tables.append(few_shot_tables.papers_protocol_table(name, runs))
        last = list(runs)[-1]
        rows = read_gallery(runs[last].folders[0] / GALLERY)
        galleries.append(Gallery(f"{name}: unread photos by {last}", HEADS, rows))
        classes = list(few_shot.classification_cells(product, methods, request.scale, request.seeds))
        if classes:
            found = run_grid(classes, request.out, request.devices)
            made += classes
            classified[name] = grouped(classes, found, request.out)[name]
            tables.append(few_shot_tables.classification_table(name, classified[name], weights))
        detectors = few_shot_tables.detectors_table(whole, "Detectors, as printed")
        yield Experiment(
            title="What are generated defects worth to a localiser?",
            lead="The first third of the defects of each type is learned from: by a generator, by "
            "pasting, or directly. A network trained on the result is judged on the other two thirds.",
            tables=[
                *_averages(whole, judged, classified, weights),
                *tables,
                *([detectors] if detectors else []),
            ],
            galleries=galleries,
            notes=[
                *request.notes(made, len(whole), len(products)),
                *early.undrawn(products),
            ],
            facts=request.facts(made),
            command=request.command,
        )


def _averages(
    localised: Mapping[str, Mapping[str, Runs]],
    judged: Mapping[str, Result],
    classified: Mapping[str, Mapping[str, Runs]],
    weights: str | None,
) -> list[Table]:
    """Return the means over the products, where there are several."""
    tables: list[Table] = []
    if len(localised) > 1:
        tables.append(few_shot_tables.average_table(localised, "All products"))
        tables.append(fidelity_averages(judged, "All products: how real the pairs look"))
    if len(classified) > 1:
        title = "All products: classification"
        tables.append(few_shot_tables.classification_averages(classified, title, weights))
    return tables


def diffusionad(request: Request) -> Iterator[Experiment]:
    """Yield the tables of DiffusionAD: a detector for each product, from good photos alone.

    With many devices all products share one grid, so that each has work, and there is one report.

    Raises:
        ConfigError: other people's maps have the name of our own row.
    """
    taken = [name for name in request.maps if name.casefold() == METHOD.casefold()]
    if taken:
        raise ConfigError(
            f"maps from elsewhere cannot be called {taken[0]!r}: it is the name of our row",
            hint="give them another with --maps NAME=FOLDER",
        )
    products = request.products()
    for dataset in products.values():
        refuse_untested(dataset)
    early.check_photos(products.values())
    imported = {
        name: imported_rows(dataset, name, request.maps, single=len(products) == 1)
        for name, dataset in products.items()
    }
    names = list(products)
    cells: list[DetectorCell] = []
    results: list[Result] = []
    for together in [names] if len(request.devices) > 1 else [[name] for name in names]:
        more = [
            DetectorCell(
                name=f"{name}/detection/{METHOD}/seed{seed}",
                dataset=products[name],
                test=products[name].test,
                config=request.settings(seed),
                length=request.scale.detector,
                paper_protocol=request.paper_protocol,
            )
            for name in together
            for seed in request.seeds
        ]
        results += run_grid(more, request.out, request.devices)
        cells += more
        yield _detection_report(request, cells, grouped(cells, results, request.out), imported)


def _detection_report(
    request: Request,
    cells: Sequence[DetectorCell],
    runs: Mapping[str, Mapping[str, Runs]],
    imported: Mapping[str, Mapping[str, Row]],
) -> Experiment:
    """Return the report of as many products as have runs."""
    tell = request.paper_protocol
    chosen_on_test = [papers_protocol_table(name, own) for name, own in runs.items() if tell]
    return Experiment(
        title="How good is a detector that has seen good photos only?",
        lead="One detector for each product, trained on its good photos and on drawn defects.",
        tables=[*product_table(runs, imported), *chosen_on_test],
        galleries=[
            Gallery(f"{product}: some test photos", LOOK_HEADS, read_gallery(place))
            for product, methods in runs.items()
            for place in [next(iter(methods.values())).folders[0] / GALLERY]
            if place.is_file()  # results of earlier versions have no pictures
        ],
        notes=request.notes(cells, len(runs), len(imported)),
        facts=request.facts(cells),
        command=request.command,
    )


def loop(request: Request) -> Iterator[Experiment]:
    """Yield what generated defects buy a detector."""
    tables, plots, lead = [], [], []
    made: list[Cell] = []
    lacking: list[str] = []
    products = request.products()
    early.check_plan(request, [request.generator_settings()])
    early.check_splits(products.values())
    early.check_photos(products.values())
    for name, dataset in products.items():
        asked = loop_points(FewShot.of(dataset), request.scale)
        cells = list(
            loop_cells(
                dataset,
                name,
                asked,
                request.settings(0),
                request.scale,
                request.seeds,
                request.out / name,
                generator=request.generator_settings(),
                plan=request.plan,
                device=request.devices[0],
            )
        )
        results = run_grid(cells, request.out, request.devices)
        made += cells
        runs = grouped(cells, results, request.out)[name]
        drawn = Redrawn(runs)
        most = max(point.real for point in asked)
        points = [point for point in asked if point.name in runs]
        lacking += [
            f"{name}: no row of {point.words(most)}: none of the pairs has passed the gate."
            for point in asked
            if point not in points
        ]
        tables.append(loop_table(name, points, runs, drawn))
        tables.append(few_shot_tables.type_table(name, {p.words(most): runs[p.name] for p in points}))
        plots += loop_plots(name, points, runs, drawn)
        lead.append(f"{name}: {' '.join(recommendation(points, runs, drawn))}")
        yield Experiment(
            title="What do generated defects buy a detector?",
            lead=" ".join(lead),
            tables=tables,
            plots=plots,
            notes=[
                *request.notes(made, len(lead), len(products)),
                *lacking,
                *early.undrawn(products),
            ],
            facts=request.facts(made),
            command=request.command,
        )


EXPERIMENTS = {
    "anomalydiffusion": anomalydiffusion,
    "diffusionad": diffusionad,
    "loop": loop,
    "ablation": ablation,
}
