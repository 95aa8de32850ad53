"""One command for each experiment: products in, cells run, one report out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from blemish.data import Dataset
from blemish.errors import ConfigError
from blemish.experiments import early, few_shot, few_shot_tables, variants
from blemish.experiments.ablation_report import curves, normal_looks, printed_tables
from blemish.experiments.detection import DetectorCell
from blemish.experiments.detection_tables import (
    ablation_table,
    averaged,
    imported_rows,
    product_table,
)
from blemish.experiments.downstream import LocalisationCell
from blemish.experiments.evaluation import refuse_untested
from blemish.experiments.fidelity import FidelityCell, fidelity_table
from blemish.experiments.galleries import GALLERY, HEADS, LOOK_HEADS, pairs_gallery, read_gallery
from blemish.experiments.grid import Cell, other_versions, run_grid
from blemish.experiments.loop import (
    loop_cells,
    loop_plots,
    loop_points,
    loop_table,
    recommendation,
)
from blemish.experiments.page import write_experiment
from blemish.experiments.protocol import FewShot
from blemish.experiments.request import Request
from blemish.experiments.runs import Redrawn, Runs, grouped
from blemish.experiments.tables import Experiment, Gallery, Table
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
    products = request.products()
    splits = {name: FewShot.of(dataset) for name, dataset in products.items()}
    elsewhere = {
        name: few_shot.imported_pairs(
            split, methods, early.imported(request, name, single=len(products) == 1)
        )
        for name, split in splits.items()
    }
    early.check_weights(request, classifies=any(len(split.types) > 1 for split in splits.values()))
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
        judging = FidelityCell(product, request.scale.pairs, request.lpips, request.inception)
        (fidelity,) = run_grid([judging], request.out, request.devices[:1])
        galleries.append(pairs_gallery(name, product.split.few, product.sources[few_shot.GENERATED]))
        cells = list(
            few_shot.localisation_cells(
                product, methods, request.scale, request.seeds, paper_protocol=request.paper_protocol
            )
        )
        results = run_grid(cells, request.out, request.devices)
        made += [judging, *cells]
        runs = grouped(cells, results, request.out)[name]
        whole[name] = runs
        drawn = Redrawn(runs)
        tables.append(few_shot_tables.localisation_table(name, runs, drawn))
        gains = few_shot_tables.gain_table(name, runs, drawn)
        tables += [gains] if gains else []
        tables.append(few_shot_tables.type_table(name, runs))
        tables.append(fidelity_table(name, fidelity))
        if request.paper_protocol:
            tables.append(few_shot_tables.papers_protocol_table(name, runs))
        last = list(runs)[-1]
        rows = read_gallery(runs[last].folders[0] / GALLERY)
        galleries.append(Gallery(f"{name}: unread photos by {last}", HEADS, rows))
        classes = list(few_shot.classification_cells(product, methods, request.scale, request.seeds))
        if classes:
            found = run_grid(classes, request.out, request.devices)
            made += classes
            named = grouped(classes, found, request.out)[name]
            tables.append(
                few_shot_tables.classification_table(name, named, request.scale.classifier.weights)
            )
        means = few_shot_tables.average_table(whole, "All products")
        told = len(whole) > 1 or few_shot_tables.printed_rows(whole)
        yield Experiment(
            title="What are generated defects worth to a localiser?",
            lead="The first third of the defects of each type is learned from: by a generator, by "
            "pasting, or directly. A network trained on the result is judged on the other two thirds.",
            tables=[*([means] if told else []), *tables],
            galleries=galleries,
            notes=_notes(request, made, len(whole), len(products)),
            facts=request.facts(),
            command=request.command,
        )


def diffusionad(request: Request) -> Iterator[Experiment]:
    """Yield the tables of DiffusionAD: a detector for each product, from good photos alone.

    All products share one grid, so that many devices have work: there is one report, at the end.

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
    cells = [
        DetectorCell(
            name=f"{name}/detection/{METHOD}/seed{seed}",
            dataset=dataset,
            test=dataset.test,
            config=request.settings(seed),
            length=request.scale.detector,
        )
        for name, dataset in products.items()
        for seed in request.seeds
    ]
    imported = {
        name: imported_rows(dataset, name, request.maps, single=len(products) == 1)
        for name, dataset in products.items()
    }
    results = run_grid(cells, request.out, request.devices)
    runs = grouped(cells, results, request.out)
    yield Experiment(
        title="How good is a detector that has seen good photos only?",
        lead="One detector for each product, trained on its good photos and on drawn defects.",
        tables=product_table(runs, imported),
        galleries=[
            Gallery(f"{product}: some test photos", LOOK_HEADS, read_gallery(place))
            for product, methods in runs.items()
            for place in [next(iter(methods.values())).folders[0] / GALLERY]
            if place.is_file()  # results of earlier versions have no pictures
        ],
        notes=_notes(request, cells, len(products), len(products)),
        facts=request.facts(),
        command=request.command,
    )


def loop(request: Request) -> Iterator[Experiment]:
    """Yield what generated defects buy a detector."""
    tables, plots, lead = [], [], []
    made: list[Cell] = []
    products = request.products()
    early.check_splits(products.values())
    for name, dataset in products.items():
        points = loop_points(FewShot.of(dataset), request.scale)
        cells = list(
            loop_cells(
                dataset,
                name,
                points,
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
        tables.append(loop_table(name, points, runs, drawn))
        most = max(point.real for point in points)
        tables.append(few_shot_tables.type_table(name, {p.words(most): runs[p.name] for p in points}))
        plots += loop_plots(name, points, runs, drawn)
        lead.append(f"{name}: {' '.join(recommendation(points, runs, drawn))}")
        yield Experiment(
            title="What do generated defects buy a detector?",
            lead=" ".join(lead),
            tables=tables,
            plots=plots,
            notes=_notes(request, made, len(lead), len(products)),
            facts=request.facts(),
            command=request.command,
        )


def ablation(request: Request) -> Iterator[Experiment]:
    """Yield what each part of a method adds: `parts` and `tokens` of the generator, or the detector's.

    Raises:
        ConfigError: there is no such ablation.
    """
    known = (*variants.DETECTION, *variants.GENERATION)
    if request.variant not in known:
        raise ConfigError(
            f"there is no ablation {request.variant!r}", hint=f"choose of: {', '.join(known)}"
        )
    detects = request.variant in variants.DETECTION
    tables, plots, galleries = [], [], []
    made: list[Cell] = []
    products = request.products()
    if detects:
        for dataset in products.values():
            refuse_untested(dataset)
    else:
        early.check_splits(products.values())
    for name, dataset in products.items():
        cells: Sequence[DetectorCell | LocalisationCell]
        cells = (
            _detection_variants(request, name, dataset)
            if detects
            else _generation_variants(request, name, dataset)
        )
        results = run_grid(cells, request.out, request.devices)
        made += cells
        runs = grouped(cells, results, request.out)[name]
        tables.append(ablation_table(name, request.variant, runs))
        if detects:
            plots += curves(name, request.variant, runs)
            galleries += normal_looks(name, request.variant, runs)
        yield Experiment(
            title=f"Ablation: {request.variant}",
            lead="One thing changes from row to row: does each part help here as in the paper?"
            + ("" if detects else " All seeds of a row share one generator and one set of pairs."),
            tables=[*averaged(tables), *tables, *printed_tables(request.variant)],
            plots=plots,
            galleries=galleries,
            notes=_notes(request, made, len(tables), len(products)),
            facts=request.facts(),
            command=request.command,
        )


def _detection_variants(request: Request, name: str, dataset: Dataset) -> list[DetectorCell]:
    return [
        DetectorCell(
            name=f"{name}/{request.variant}/{variant}/seed{seed}",
            dataset=dataset,
            test=dataset.test,
            config=request.settings(seed, overrides),
            length=request.scale.detector,
        )
        for variant, overrides in variants.DETECTION[request.variant].items()
        for seed in request.seeds
    ]


def _generation_variants(request: Request, name: str, dataset: Dataset) -> list[LocalisationCell]:
    """Return a localiser's cells for each variant of the generator, trained on its pairs alone."""
    open_ended = request.plan is None and request.scale.generator_updates is None
    if open_ended and request.variant != "shares":
        raise ConfigError(
            "the parts of the generator's network are ablated: it has to learn",
            hint="give --generator-iterations",
        )
    cells: list[LocalisationCell] = []
    for variant, config in request.generators().items():
        split = FewShot.of(dataset)
        if request.variant == "shares":
            split = split.share(variants.SHARES[variant])
        product = few_shot.prepared(
            dataset,
            name,
            request.scale,
            request.out / name / request.variant / variant,
            split=split,
            methods=(few_shot.GENERATED,),
            config=config,
            plan=request.plan,
            device=request.devices[0],
        )
        for cell in few_shot.localisation_cells(
            product, (few_shot.GENERATED,), request.scale, request.seeds
        ):
            place = f"{name}/{request.variant}/{variant}/seed{cell.seed}"
            cells.append(replace(cell, name=place))
    return cells


def _notes(request: Request, cells: Sequence[Cell], done: int, asked: int) -> list[str]:
    """Return what must be known before the figures are believed. done, asked: numbers of products."""
    left = f"Not finished: {done} of {asked} products so far. The same command goes on."
    single = "One seed: another may move a figure by more than its interval says."
    return [
        *([left] if done < asked else []),
        *([single] if len(request.seeds) == 1 else []),
        *other_versions(cells, request.out),
    ]


EXPERIMENTS = {
    "anomalydiffusion": anomalydiffusion,
    "diffusionad": diffusionad,
    "loop": loop,
    "ablation": ablation,
}
