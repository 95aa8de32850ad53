from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet34

from blemish.data import Dataset
from blemish.errors import ArtifactError, DatasetError
from blemish.experiments import classification
from blemish.experiments.classification import (
    ClassifierSettings,
    ClassifierTask,
    predicted,
    train_classifier,
)
from blemish.experiments.protocol import FewShot
from blemish.experiments.training_pairs import Squares, TrainingPairs
from blemish.records import Record

TINY = ClassifierSettings(size=32, batch=8, iterations=6, precision="fp32")


class Small(nn.Sequential):
    """What stands in for a ResNet where its size would only cost time."""

    def __init__(self, weights: None, num_classes: int) -> None:
        assert weights is None
        super().__init__(
            nn.Conv2d(3, 8, 5, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(8, num_classes),
        )


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.models.resnet34", Small)


@pytest.fixture(scope="module")
def split(plain: Dataset) -> FewShot:
    return FewShot.of(plain)


def trained(split: FewShot, folder: Path, settings: ClassifierSettings = TINY, **changes: object):
    chosen = {"sources": [split.few], "held_out": split.few, "test": split.rest} | changes
    return train_classifier(settings, folder=folder, device="cpu", **chosen)


@pytest.mark.usefixtures("small")
def test_it_learns_to_tell_two_types_that_anybody_can_tell(split, tmp_path):
    settings = replace(TINY, iterations=100, lr=3e-2)
    assert trained(split, tmp_path, settings) == [record.label for record in split.rest]


@pytest.mark.usefixtures("small")
def test_the_same_seed_gives_the_same_answers_and_no_photo_is_asked_what_it_shows(split, tmp_path):
    few = replace(TINY, iterations=3)
    found = trained(split, tmp_path / "a", few)
    assert len(found) == len(split.rest)
    assert set(found) <= {"bar", "spot"}
    renamed = [replace(r, label={"bar": "spot", "spot": "bar"}[r.label]) for r in split.rest]
    assert trained(split, tmp_path / "b", few, test=renamed) == found


@pytest.mark.usefixtures("small")
def test_a_finished_run_is_not_trained_again(split, tmp_path, monkeypatch):
    found = trained(split, tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(classification.Objective, "forward", refuse)
    assert trained(split, tmp_path) == found


def test_a_type_that_was_not_learned_and_a_single_type_are_refused(split, tmp_path):
    bars = [record for record in split.few if record.label == "bar"]
    with pytest.raises(DatasetError, match="classifier of bar cannot be judged on spot"):
        trained(split, tmp_path, sources=[bars])
    only = [record for record in split.rest if record.label == "bar"]
    with pytest.raises(DatasetError, match="at least two types"):
        trained(split, tmp_path, sources=[bars], test=only)
    with pytest.raises(DatasetError, match="classifier of nothing"):
        trained(split, tmp_path, sources=[])
    assert not list(tmp_path.iterdir())


def pairs(split: FewShot, seed: int = 0) -> TrainingPairs:
    settings = {"batch": 2, "good_share": 0.0, "seed": seed}
    return TrainingPairs((), [split.few], ["bar", "spot"], Squares(32), **settings)


def network(split: FewShot, seed: int = 0, **changes: object) -> nn.Module:
    settings = replace(TINY, **changes)
    return ClassifierTask(settings, pairs(split, seed), [], torch.device("cpu")).objective.network


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory) -> Path:
    """Random weights of a ResNet-34 of ten classes, as torchvision would save them."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "resnet34-b627a593.pth"
    torch.save(resnet34(weights=None, num_classes=10).state_dict(), path)
    return path


def test_given_weights_fill_everything_but_the_last_layer(split, imagenet):
    given = torch.load(imagenet, weights_only=True)
    for place in (imagenet, imagenet.parent):
        found = network(split, weights=str(place)).state_dict()
        assert found.keys() == given.keys()
        for name, value in found.items():
            assert name.startswith("fc.") or torch.equal(value, given[name])
        assert found["fc.weight"].shape == (2, 512)


def test_the_loss_is_the_cross_entropy_of_a_resnet_34(split):
    task = ClassifierTask(TINY, pairs(split), [], torch.device("cpu"))
    (batch,) = task.pairs[0]
    task.objective.eval()
    logits = task.objective.logits(batch.picture())
    chance = logits.exp() / logits.exp().sum(1, keepdim=True)
    expected = -chance[torch.arange(2), batch.label].log().mean()
    torch.testing.assert_close(task.objective(batch)["loss"], expected)
    # torchvision's documentation counts 21,797,672 with a last layer of 1000 classes.
    last = 2 * (512 + 1) - 1000 * (512 + 1)
    found = sum(parameter.numel() for parameter in task.objective.network.parameters())
    assert found == 21_797_672 + last


def test_without_weights_the_seed_decides_them_and_nobody_elses_stream_is_touched(split):
    state = torch.random.get_rng_state()
    first, again, other = (network(split, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first["layer4.2.conv2.weight"], again["layer4.2.conv2.weight"])
    assert not torch.equal(first["layer4.2.conv2.weight"], other["layer4.2.conv2.weight"])


def junk(path: Path) -> None:
    path.write_text("no weights", encoding="utf-8")


WRONG = {
    "missing": lambda _: None,
    "empty folder": Path.mkdir,
    "empty": Path.touch,
    "junk": junk,
    "a list": lambda path: torch.save([torch.zeros(2)], path),
    "numbers": lambda path: torch.save({1: torch.zeros(2)}, path),
    "nothing of it": lambda path: torch.save({"x": torch.zeros(2)}, path),
    "a module": lambda path: torch.save(nn.Linear(2, 2), path),
    "another network": lambda path: torch.save(resnet18(weights=None).state_dict(), path),
}


@pytest.mark.parametrize("content", WRONG)
def test_a_file_that_is_not_a_resnet_34_is_refused_with_its_name(split, tmp_path, content):
    path = tmp_path / "weights.pth"
    WRONG[content](path)
    with pytest.raises(ArtifactError) as error:
        network(split, weights=str(path))
    assert str(path) in str(error.value)


def test_weights_that_lack_a_layer_or_have_one_of_another_shape_are_refused(split, imagenet, tmp_path):
    state = torch.load(imagenet, weights_only=True)
    part = {name: value for name, value in state.items() if not name.startswith("layer3")}
    torch.save(part, tmp_path / "part.pth")
    with pytest.raises(ArtifactError, match=r"lacks layer3\.0"):
        network(split, weights=str(tmp_path / "part.pth"))
    torch.save(state | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "grey.pth")
    with pytest.raises(ArtifactError, match="does not hold"):
        network(split, weights=str(tmp_path / "grey.pth"))


def test_held_out_pairs_are_counted_as_right_or_wrong(split, monkeypatch):
    held = [Record(Path("x.png"), label) for label in ("bar", "spot", "spot", "spot")]
    monkeypatch.setattr("torchvision.models.resnet34", Small)
    task = ClassifierTask(TINY, pairs(split), held, torch.device("cpu"))
    monkeypatch.setattr(classification, "predicted", lambda *_: ["bar", "spot", "bar", "spot"])
    assert task.validate() == {"accuracy": 0.75, "objective": 0.75}


@pytest.mark.usefixtures("small")
def test_asking_changes_nothing_in_the_network_and_depends_on_no_neighbour(split):
    made = pairs(split)
    task = ClassifierTask(TINY, made, [], torch.device("cpu"))
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    together = predicted(task.objective, made, split.rest)
    assert together == [predicted(task.objective, made, [record])[0] for record in split.rest]
    assert all(torch.equal(value, before[name]) for name, value in task.module.state_dict().items())
    assert task.objective.training
