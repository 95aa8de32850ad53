"""The papers' ablations: one setting changes from row to row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from blemish.data import Dataset
from blemish.errors import ConfigError
from blemish.experiments import early, few_shot
from blemish.experiments.ablation_report import curves, normal_looks, printed_tables
from blemish.experiments.detection import DetectorCell
from blemish.experiments.detection_tables import ablation_table, averaged
from blemish.experiments.downstream import LocalisationCell
from blemish.experiments.evaluation import refuse_untested
from blemish.experiments.grid import Cell, run_grid
from blemish.experiments.pairs_table import pairs_table
from blemish.experiments.protocol import FewShot
from blemish.experiments.request import Request
from blemish.experiments.runs import grouped
from blemish.experiments.tables import Experiment, Gallery, Plot, Table
from blemish.experiments.variants import DETECTION, GENERATION, SHARES
from blemish.generator_config import GeneratorConfig
from blemish.records import Record

_LEAD = "One thing changes from row to row: does each part help here as in the paper?"
_SHARED = " All seeds of a row share one generator and one set of pairs."


def ablation(request: Request) -> Iterator[Experiment]:
    """Yield what each part of a method adds: of the detector, or of the generator.

    Raises:
        ConfigError: there is no such ablation.
    """
    if request.variant in DETECTION:
        return _of_the_detector(request)
    if request.variant in GENERATION:
        return _of_the_generator(request)
    known = ", ".join((*DETECTION, *GENERATION))
    raise ConfigError(f"there is no ablation {request.variant!r}", hint=f"choose of: {known}")


def _of_the_detector(request: Request) -> Iterator[Experiment]:
    products = request.products()
    for dataset in products.values():
        refuse_untested(dataset)
    early.check_photos(products.values())
    tables: list[Table] = []
    plots: list[Plot] = []
    galleries: list[Gallery] = []
    made: list[Cell] = []
    for name, dataset in products.items():
        cells = _detectors(request, name, dataset)
        results = run_grid(cells, request.out, request.devices)
        made += cells
        runs = grouped(cells, results, request.out)[name]
        tables.append(ablation_table(name, request.variant, runs))
        plots += curves(name, request.variant, runs)
        galleries += normal_looks(name, request.variant, runs)
        yield Experiment(
            title=f"Ablation: {request.variant}",
            lead=_LEAD,
            tables=[*averaged(tables), *tables, *printed_tables(request.variant)],
            plots=plots,
            galleries=galleries,
            notes=request.notes(made, len(tables), len(products)),
            facts=request.facts(made),
            command=request.command,
        )


def _of_the_generator(request: Request) -> Iterator[Experiment]:
    """Yield the figures of localisers that learn from the pairs of each variant alone."""
    configs = request.generators()
    early.check_plan(request, configs.values())
    open_ended = request.plan is None and request.scale.generator_updates is None
    if open_ended and request.variant != "shares":
        raise ConfigError(
            "the parts of the generator's network are ablated: it has to learn",
            hint="give --generator-iterations",
        )
    products = request.products()
    early.check_splits(products.values())
    early.check_photos(products.values())
    tables: list[Table] = []
    counts: list[Table] = []
    made: list[Cell] = []
    lacking: list[str] = []
    for name, dataset in products.items():
        split = FewShot.of(dataset)
        painted = _painted(request, name, dataset, split, configs)
        results = run_grid(painted.cells, request.out, request.devices)
        made += painted.cells
        lacking += [f"{name}: no row of {variant}: {why}." for variant, why in painted.failed.items()]
        runs = grouped(painted.cells, results, request.out)[name]
        tables.append(ablation_table(name, request.variant, runs))
        counts.append(pairs_table(name, painted.pairs, split.types, request.scale.pairs, "variant"))
        yield Experiment(
            title=f"Ablation: {request.variant}",
            lead=_LEAD + _SHARED,
            tables=[*averaged(tables), *tables, *counts, *printed_tables(request.variant)],
            notes=[
                *request.notes(made, len(tables), len(products)),
                *lacking,
                *early.undrawn(products),
            ],
            facts=request.facts(made),
            command=request.command,
        )


def _detectors(request: Request, name: str, dataset: Dataset) -> list[DetectorCell]:
    return [
        DetectorCell(
            name=f"{name}/{request.variant}/{variant}/seed{seed}",
            dataset=dataset,
            test=dataset.test,
            config=request.settings(seed, overrides),
            length=request.scale.detector,
        )
        for variant, overrides in DETECTION[request.variant].items()
        for seed in request.seeds
    ]


@dataclass(frozen=True, slots=True)
class _Painted:
    """What the variants of a generator have painted. failed: why one has nothing to learn from."""

    cells: list[LocalisationCell] = field(default_factory=list)
    pairs: dict[str, Sequence[Record]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def _painted(
    request: Request,
    name: str,
    dataset: Dataset,
    split: FewShot,
    configs: Mapping[str, GeneratorConfig],
) -> _Painted:
    """Return a localiser's cells for each variant of the generator, trained on its pairs alone.

    Raises:
        NoPairsError: there are none, as no variant has painted anything.
    """
    found = _Painted()
    for variant, config in configs.items():
        shares = request.variant == "shares"
        try:
            product = few_shot.prepared(
                dataset,
                name,
                request.scale,
                request.out / name / request.variant / variant,
                split=split.share(SHARES[variant]) if shares else split,
                methods=(few_shot.GENERATED,),
                config=config,
                plan=request.plan,
                device=request.devices[0],
            )
        except few_shot.NoPairsError as error:
            found.failed[variant] = str(error.args[0])
            continue
        found.pairs[variant] = product.sources[few_shot.GENERATED]
        found.cells.extend(
            replace(cell, name=f"{name}/{request.variant}/{variant}/seed{cell.seed}")
            for cell in few_shot.localisation_cells(
                product, (few_shot.GENERATED,), request.scale, request.seeds
            )
        )
    if not found.cells:
        raise few_shot.NoPairsError(
            f"{name}: no variant of the generator has made pairs to learn from: "
            f"{'; '.join(found.failed.values())}",
            hint="let its network learn longer: --generator-iterations",
        )
    return found
