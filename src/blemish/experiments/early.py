"""What could stop an experiment after hours, looked at before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from blemish.data import Dataset, read_sample
from blemish.errors import ConfigError
from blemish.experiments.classification import resnet
from blemish.experiments.protocol import FewShot, refuse_copies
from blemish.experiments.request import Request
from blemish.generator_config import GeneratorConfig
from blemish.networks import Perceptual, open_inception
from blemish.records import Record


def imported(request: Request, product: str, *, single: bool) -> dict[str, Path]:
    """Return the folders of other people's pairs of a product."""
    return {
        given: root if single and not (root / product).is_dir() else root / product
        for given, root in request.generated.items()
    }


def check_photos(datasets: Iterable[Dataset]) -> None:
    """Read every photo and mask once.

    Raises:
        ImageError: one cannot be read, or a mask is not of its photo's size.
    """
    records = [record for dataset in datasets for record in dataset.records]
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(_read, records):
            pass


def _read(record: Record) -> None:
    read_sample(record)


def undrawn(datasets: Mapping[str, Dataset]) -> list[str]:
    """Return in words what a few-shot experiment leaves out: photos of defects without a mask."""
    return [
        f"{name}: {count} photos of {label} without a mask are neither learned from nor judged."
        for name, dataset in datasets.items()
        for label, count in Counter(r.label for r in dataset.defects if r.mask is None).items()
    ]


def check_plan(request: Request, configs: Iterable[GeneratorConfig]) -> None:
    """Stop at a plan for a generator's network where none learns.

    Raises:
        ConfigError: patches alone paint.
    """
    if request.plan is not None and all(c.painting.painter == "patches" for c in configs):
        raise ConfigError(
            "no network of the generator learns: patches paint",
            hint="leave --generator-iterations out, or add --generator-set painting.painter=network",
        )


def check_splits(datasets: Iterable[Dataset]) -> None:
    """Stop at a product that the few-shot protocol cannot be used on.

    Raises:
        DatasetError: it is too small, or a test photo is learned from.
    """
    for dataset in datasets:
        split = FewShot.of(dataset)
        refuse_copies(split.learned, split.test)


def check_weights(request: Request, *, classifies: bool) -> None:
    """Load the networks that are needed after hours, and let them go.

    Raises:
        ArtifactError: a file of weights is missing, damaged, or another network's.
        DependencyError: a package that a network comes with is not installed.
    """
    cpu = torch.device("cpu")
    if request.lpips is not None:
        Perceptual.load(request.lpips, cpu)
    if request.inception is not None:
        open_inception(request.inception, cpu)
    if classifies:
        resnet(request.scale.classifier, classes=2, seed=0)
