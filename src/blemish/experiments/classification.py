"""The downstream classifier: which type of defect is it? Trained on pairs, judged on unread photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish import hardware, randomness
from blemish.config import Turn
from blemish.errors import ArtifactError, DatasetError, DependencyError
from blemish.experiments.pair_training import PairObjective, PairTask, fit
from blemish.experiments.training_pairs import Batch, Squares, TrainingPairs
from blemish.networks.published import Published, find_weights, read_weights
from blemish.records import Record

RESNET34 = Published(
    "ResNet-34",
    ("resnet34-b627a593.pth",),
    "https://download.pytorch.org/models/resnet34-b627a593.pth",
)


@dataclass(frozen=True, slots=True)
class ClassifierSettings:
    """How a ResNet-34 is trained. weights: ImageNet's, a file or its folder; None: from scratch."""

    size: int = 256
    batch: int = 8
    iterations: int = 300
    lr: float = 1e-4
    decay: float = 0.5
    weights: str | None = None
    precision: str = "auto"


class Objective(PairObjective):
    """The classifier and its loss on one batch."""

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `loss`: cross entropy over the types."""
        return {"loss": F.cross_entropy(self.logits(batch.picture()), batch.label.to(self.device))}


class ClassifierTask(PairTask):
    """Trains a ResNet-34 on pairs; chooses its weights on held-out pairs."""

    def __init__(
        self,
        settings: ClassifierSettings,
        pairs: TrainingPairs,
        held_out: Sequence[Record],
        device: torch.device,
    ) -> None:
        network = resnet(settings, len(pairs.types), pairs.seed)
        self.objective = Objective(network, settings, device)
        super().__init__(self.objective, pairs, settings)
        self.held_out = held_out

    def validate(self) -> dict[str, float]:
        """Return the accuracy on the held-out pairs, which is the objective."""
        found = predicted(self.objective, self.pairs, self.held_out)
        right = np.mean([a == b.label for a, b in zip(found, self.held_out, strict=True)])
        return {"accuracy": float(right), "objective": float(right)}

    def sheet(self, path: Path) -> None:
        """Draw nothing: a classifier marks no places."""


def train_classifier(
    settings: ClassifierSettings,
    sources: Sequence[Sequence[Record]],
    held_out: Sequence[Record],
    test: Sequence[Record],
    folder: Path,
    *,
    turns: Sequence[Turn] = (),
    seed: int = 0,
    device: str = "auto",
) -> list[str]:
    """Return the type that a classifier gives each test photo.

    sources: pairs to learn from; there is no class for good photos, as in the paper. A run that was
    killed goes on where it was.

    Raises:
        DatasetError: a test photo's type is not among those learned from, or there is only one type.
    """
    types = sorted({record.label for source in sources for record in source})
    strange = sorted({record.label for record in test} - set(types))
    if strange or len(types) < 2:
        raise DatasetError(
            f"a classifier of {', '.join(types) or 'nothing'} cannot be judged on "
            f"{', '.join(strange) or 'one type'}",
            hint="give pairs of at least two types, and of all types that are tested",
        )
    where = hardware.device(device)
    squares = Squares(settings.size)
    pairs = TrainingPairs(
        (), sources, types, squares, batch=settings.batch, good_share=0.0, turns=turns, seed=seed
    )
    task = ClassifierTask(settings, pairs, held_out, where)
    fit(task, settings, folder, where)
    return predicted(task.objective, pairs, test)


def predicted(objective: Objective, pairs: TrainingPairs, records: Sequence[Record]) -> list[str]:
    """Return the most likely type of each photo."""
    answers = objective.answers(pairs.squares, records)
    return [pairs.types[n] for _, _, logits in answers for n in logits.argmax(1).tolist()]


def resnet(settings: ClassifierSettings, classes: int, seed: int) -> nn.Module:
    """Return a ResNet-34 for so many classes.

    Raises:
        DependencyError: torchvision is not installed.
        ArtifactError: the weights are not there, or not those of a ResNet-34.
    """
    try:
        from torchvision.models import resnet34
    except ImportError as error:
        raise DependencyError(
            "torchvision is not installed", hint="pip install 'blemish[paper]'"
        ) from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.stream_seed(seed, "classifier"))
        network: nn.Module = resnet34(weights=None, num_classes=classes)
    if settings.weights is None:
        return network
    state = read_weights(find_weights(RESNET34, Path(settings.weights)))
    try:
        body = {name: value for name, value in state.items() if not name.startswith("fc.")}
        missing = network.load_state_dict(body, strict=False)
    except (RuntimeError, AttributeError) as error:
        raise ArtifactError(
            f"{settings.weights} does not hold the weights of a ResNet-34: {error}",
            hint="save torchvision's resnet34 state dict with torch.save",
        ) from error
    if set(missing.missing_keys) != {"fc.weight", "fc.bias"}:
        raise ArtifactError(
            f"{settings.weights} lacks {', '.join(missing.missing_keys[:3])}, ...",
            hint="give the whole state dict of torchvision's resnet34",
        )
    return network
