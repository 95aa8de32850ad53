"""AnomalyDiffusion's experiment on one product: a few defects, what is made of them, what it buys."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blemish.config import Turn
from blemish.data import Dataset, read_dataset
from blemish.errors import ArtifactError, ConfigError, DatasetError
from blemish.experiments.baselines import TYPED, UNTYPED, write_baseline
from blemish.experiments.downstream import ClassificationCell, LocalisationCell
from blemish.experiments.generation_quality import READ
from blemish.experiments.protocol import FewShot, Scale, refuse_copies
from blemish.generation import Generator, learn, settled, write_masks
from blemish.generation.learning import length, named
from blemish.generator_config import GeneratorConfig
from blemish.records import Record
from blemish.runtime import logger
from blemish.synthesis import ProductKind
from blemish.training import Plan

REAL, GENERATED = "real", "generated"
PLUS = "+"

METHODS = (
    REAL,
    "draem",
    "cut_paste",
    "crop_and_paste",
    "poisson_paste",
    GENERATED,
    f"crop_and_paste{PLUS}{REAL}",
    f"poisson_paste{PLUS}{REAL}",
    f"{GENERATED}{PLUS}{REAL}",
)
"""What localisers learn from; names joined by a plus are sources of equal weight."""

_OURS = (REAL, GENERATED, *TYPED, *UNTYPED, READ, "test", "goods", "rest")
_NAME = re.compile(r"\w([\w .-]*\w)?")


class NoPairsError(DatasetError):
    """The generator has painted nothing that can be learned from."""


@dataclass(frozen=True, slots=True)
class Product:
    """One product under the protocol, with all sources of pairs at hand."""

    name: str
    split: FewShot
    kind: ProductKind
    turns: tuple[Turn, ...]
    sources: Mapping[str, tuple[Record, ...]]

    def given(self, method: str) -> dict[str, tuple[Record, ...]]:
        """Return the sources that a method names.

        Raises:
            ConfigError: there is no such source.
        """
        names = method.split(PLUS)
        _check_known(names, self.sources)
        return {name: self.sources[name] for name in names}

    @property
    def typed(self) -> tuple[str, ...]:
        """The sources whose pairs know their type of defect."""
        return tuple(name for name in self.sources if name not in UNTYPED)


def painted(
    dataset: Dataset,
    split: FewShot,
    config: GeneratorConfig,
    pairs: int,
    folder: Path,
    *,
    plan: Plan | None = None,
    device: str = "auto",
    seed: int = 0,
) -> tuple[Generator, tuple[Record, ...]]:
    """Return a generator and the accepted ones of its pairs, `pairs` of each type.

    Learned from the split's few alone; what is in the folder already is not made again. A generator
    that has learned the shapes of masks paints masks of its own, as many as pairs.

    Raises:
        ArtifactError: the folder holds a generator of other settings, photos or masks, or one that
            learned for another time.
        ConfigError: too few of the masks that it draws are usable.
        DatasetError: the folder holds masks or pairs of another run.
        NoPairsError: no pair of any type has passed the gate.
    """
    known = replace(dataset, records=(*split.few, *split.goods))
    if (folder / "generator" / "generator").is_dir():
        generator = Generator.load(folder / "generator" / "generator", device=device)
        _refuse_other(generator, config, split, plan, folder)
    else:
        generator = learn(known, config, folder / "generator", plan, device=device, resume=True)
    counts = dict.fromkeys(generator.types, pairs)
    if config.learning.masks:
        own = write_masks(generator, split.goods, counts, folder / "masks", seed=seed, learned=True)
        generator = generator.with_masks(own)
    generator.generate(split.goods, counts, folder / "pairs", seed=seed)
    made = read_dataset(folder / "pairs").train_defects
    lacking = sorted(set(generator.types) - {record.label for record in made})
    if not made:
        raise NoPairsError(
            f"none of the pairs in {folder / 'pairs'} has passed the gate",
            hint=f"see why: blemish review {folder / 'pairs'}",
        )
    if lacking:
        logger.warning("no pair of %s has passed the gate", ", ".join(lacking))
    return generator, made


def imported_pairs(
    split: FewShot, methods: Sequence[str], imported: Mapping[str, Path]
) -> dict[str, tuple[Record, ...]]:
    """Return the pairs from elsewhere, after a look at all that could stop the experiment later.

    imported: name and dataset folder.

    Raises:
        ConfigError: a method names a source that there is not, or one from elsewhere has a name that
            is ours or no name for a folder.
        DatasetError: a folder cannot be read or has no pairs, or a test photo is learned from.
    """
    for name in imported:
        _refuse_name(name)
    found = {name: _as_training(read_dataset(root)) for name, root in imported.items()}
    _check_known(_parts(methods), (REAL, GENERATED, *TYPED, *UNTYPED, *found))
    for name, pairs in found.items():
        if not pairs:
            raise DatasetError(
                f"{imported[name]} has no defects with masks",
                hint=f"give a folder of pairs with --generated {name}=FOLDER",
            )
    given = {f"the pairs of {name}": pairs for name, pairs in found.items()}
    refuse_copies(split.learned | given, split.test)
    return found


def prepared(
    dataset: Dataset,
    name: str,
    scale: Scale,
    folder: Path,
    *,
    split: FewShot | None = None,
    methods: Sequence[str] = METHODS,
    others: Mapping[str, tuple[Record, ...]] | None = None,
    config: GeneratorConfig | None = None,
    plan: Plan | None = None,
    device: str = "auto",
) -> Product:
    """Return a product with the pairs that the methods name: generated, of baselines, imported.

    split: None takes the protocol's. others: pairs from elsewhere by name (`imported_pairs`). config,
    plan: of the generator; without a plan its network learns as long as the scale says.

    Raises:
        DatasetError: the dataset is too small for the protocol.
    """
    split = split or FewShot.of(dataset)
    asked = _parts(methods)
    sources = {REAL: split.few}
    if GENERATED in asked:
        logger.info("%s: painting %d pairs of each type", name, scale.pairs)
        generator, sources[GENERATED] = painted(
            dataset,
            split,
            config or GeneratorConfig(),
            scale.pairs,
            folder / GENERATED,
            plan=plan or scale.plan({record.label for record in split.few}),
            device=device,
        )
        found = generator.config.product
    else:
        found = settled(config or GeneratorConfig(), split.goods).product
    kind, turns = found.kind, found.turns
    assert kind != "auto" and turns != "auto"  # noqa: S101, PT018 - decided by a look at the photos
    for baseline in (*TYPED, *UNTYPED):
        if baseline in asked:
            sources[baseline] = write_baseline(
                baseline, split.few, split.goods, kind, scale.pairs, folder / baseline
            )
    return Product(name, split, kind, turns, {**sources, **(others or {})})


def localisation_cells(
    product: Product,
    methods: Sequence[str],
    scale: Scale,
    seeds: Sequence[int],
    *,
    paper_protocol: bool = False,
) -> Iterator[LocalisationCell]:
    """Yield a cell for each method and seed."""
    for method in methods:
        for seed in seeds:
            yield LocalisationCell(
                name=f"{product.name}/localisation/{method}/seed{seed}",
                sources=product.given(method),
                test=product.split.test,
                turns=product.turns,
                seed=seed,
                goods=product.split.goods,
                settings=scale.localiser,
                paper_protocol=paper_protocol,
            )


def classification_cells(
    product: Product, methods: Sequence[str], scale: Scale, seeds: Sequence[int]
) -> Iterator[ClassificationCell]:
    """Yield a cell for each method whose pairs know their type, and each seed.

    None for a product with one type of defect, as in the paper.
    """
    if len(product.split.types) < 2:
        return
    settings = scale.classifier
    if scale.classifier_passes is not None:
        shown = scale.classifier_passes * scale.pairs * len(product.split.types)
        settings = replace(settings, iterations=shown // settings.batch)
    known = set(product.split.types)
    for method in methods:
        sources = product.given(method)
        if not set(sources) <= set(product.typed):
            continue
        lacking = known - {record.label for source in sources.values() for record in source}
        if lacking:
            logger.warning(
                "%s: no classifier of %s, which has no pairs of %s",
                product.name,
                method,
                ", ".join(sorted(lacking)),
            )
            continue
        for seed in seeds:
            yield ClassificationCell(
                name=f"{product.name}/classification/{method}/seed{seed}",
                sources=sources,
                test=tuple(r for r in product.split.rest if r.label in known),
                turns=product.turns,
                seed=seed,
                settings=settings,
            )


def _refuse_other(
    generator: Generator, config: GeneratorConfig, split: FewShot, plan: Plan | None, folder: Path
) -> None:
    """Stop at a generator that was asked for otherwise than now.

    Raises:
        ArtifactError: it was.
    """
    found = generator.config
    decided = {
        name: value
        for name, value in config.product.model_dump().items()
        if value == "auto"  # it has been decided by a look at the photos
    }
    product = config.product.model_copy(update={n: getattr(found.product, n) for n in decided})
    asked = None if plan is None or config.painting.painter == "patches" else length(plan)
    if (
        found != config.model_copy(update={"product": product})
        or _contents(generator.facts["photos"]) != _contents(map(named, split.few))
        or generator.facts.get("plan") != asked
    ):
        raise ArtifactError(
            f"{folder} holds a generator of other settings, photos or masks, or of another plan",
            hint="choose another folder, or remove this one",
        )


def _contents(photos: Iterable[Mapping[str, str]]) -> set[tuple[str, str, str]]:
    """Return what photos teach, whatever their order and their names."""
    return {(photo["type"], photo["sha256"], photo["mask_sha256"]) for photo in photos}


def _check_known(names: Iterable[str], known: Collection[str]) -> None:
    """Stop at a source that there is not, before hours of work for the others.

    Raises:
        ConfigError: there is no such source.
    """
    for name in names:
        if name not in known:
            raise ConfigError(
                f"there are no pairs of {name!r}",
                hint=f"choose of {', '.join(known)}, joined by {PLUS}, or give "
                f"--generated {name}=FOLDER",
            )


def _parts(methods: Sequence[str]) -> set[str]:
    """Return the sources that methods are joined of."""
    return {part for method in methods for part in method.split(PLUS)}


def _refuse_name(name: str) -> None:
    """Stop at a name of somebody's pairs that is ours, or that does not do for a folder and a row.

    Raises:
        ConfigError: it is such a name.
    """
    if name.casefold() in _OURS:
        raise ConfigError(
            f"pairs from elsewhere cannot be called {name!r}: it is a name of ours",
            hint=f"give them another with --generated NAME=FOLDER; taken are {', '.join(_OURS)}",
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"pairs from elsewhere cannot be called {name!r}",
            hint="take letters, digits, and between them spaces, '.', '-' and '_'",
        )


def _as_training(dataset: Dataset) -> tuple[Record, ...]:
    """Return the defects of a folder that was made to train with, whatever split it calls them."""
    return tuple(replace(record, split="train") for record in dataset.defects if record.mask)
