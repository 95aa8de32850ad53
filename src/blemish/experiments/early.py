"""What could stop an experiment after hours, looked at before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from blemish.data import Dataset
from blemish.experiments.classification import resnet
from blemish.experiments.protocol import FewShot, refuse_copies
from blemish.experiments.request import Request
from blemish.networks import Perceptual, open_inception


def imported(request: Request, product: str, *, single: bool) -> dict[str, Path]:
    """Return the folders of other people's pairs of a product."""
    return {
        given: root if single and not (root / product).is_dir() else root / product
        for given, root in request.generated.items()
    }


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
