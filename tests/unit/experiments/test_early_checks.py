"""What cannot work is told before anything is painted, trained or judged."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from blemish.data import Dataset
from blemish.errors import ArtifactError, BlemishError, ConfigError, DatasetError, ImageError
from blemish.experiments import ablation, early, few_shot, reproduction
from blemish.experiments.protocol import FAST
from blemish.experiments.reproduction import reproduce
from blemish.experiments.request import Request
from blemish.training import Plan


class WorkError(Exception):
    """Work has begun."""


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*_: object, **__: object) -> None:
        raise WorkError

    for module, name in (
        (few_shot, "painted"),
        (reproduction, "loop_cells"),
        (reproduction, "run_grid"),
        (ablation, "run_grid"),
    ):
        monkeypatch.setattr(module, name, begin)


@pytest.fixture
def tree(plain: Dataset, tmp_path: Path) -> Path:
    """Two products of which the second may be spoiled."""
    for name in ("bolt", "tile"):
        shutil.copytree(plain.root, tmp_path / "data" / name)
    return tmp_path / "data"


def ask(experiment: str, data: Path, **changes: Any) -> None:
    given = {"scale": FAST, "methods": ("generated",)} | changes
    reproduce(experiment, Request(data=data, out=data.parent / "out", **given))


EVERY = [
    ("anomalydiffusion", {}),
    ("diffusionad", {}),
    ("loop", {}),
    ("ablation", {"variant": "noise"}),
    ("ablation", {"variant": "parts", "plan": Plan(iterations=2)}),
]


@pytest.mark.parametrize(("experiment", "asked"), EVERY)
def test_work_begins_where_nothing_is_wrong(tree, experiment, asked):
    with pytest.raises(WorkError):
        ask(experiment, tree, **asked)


@pytest.mark.parametrize(("experiment", "asked"), EVERY)
def test_a_product_without_test_photos_is_told_first(tree, experiment, asked):
    shutil.rmtree(tree / "tile" / "test")
    with pytest.raises(DatasetError, match="tile") as error:
        ask(experiment, tree, **asked)
    assert error.value.hint


@pytest.mark.parametrize("variant", ["diffusionad", "ablation"])
def test_detectors_without_test_photos_are_told_where_to_put_some(tree, variant):
    shutil.rmtree(tree / "tile" / "test")
    with pytest.raises(DatasetError, match="has no test photos") as error:
        ask(variant, tree, variant="guidance")
    assert "test/good/" in str(error.value)


@pytest.mark.parametrize(("experiment", "asked"), [EVERY[0], EVERY[2], EVERY[4]])
def test_a_copy_of_a_test_photo_in_a_later_product_is_told_first(tree, experiment, asked):
    shutil.copy(tree / "tile" / "test" / "good" / "00.png", tree / "tile" / "train" / "good" / "zz.png")
    with pytest.raises(DatasetError, match="is the test photo"):
        ask(experiment, tree, **asked)


@pytest.mark.parametrize(("experiment", "asked"), EVERY)
def test_a_seed_is_given_once(tree, experiment, asked):
    with pytest.raises(ConfigError, match="a seed is given twice: 0, 3, 0"):
        ask(experiment, tree, seeds=(0, 3, 0), **asked)


@pytest.mark.parametrize(("experiment", "asked"), EVERY)
@pytest.mark.parametrize("what", ["test/good/00.png", "ground_truth/bar/00_mask.png"])
def test_a_damaged_file_of_a_later_product_is_told_first(tree, experiment, asked, what):
    damaged = tree / "tile" / what
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(ImageError, match=damaged.name):
        ask(experiment, tree, **asked)


@pytest.mark.parametrize(
    ("experiment", "asked"),
    [("anomalydiffusion", {}), ("loop", {}), ("ablation", {"variant": "shares"})],
)
def test_a_plan_for_a_network_is_refused_where_patches_paint(tree, experiment, asked):
    with pytest.raises(ConfigError, match="patches paint"):
        ask(experiment, tree, plan=Plan(iterations=2), **asked)
    painter = {"painting": {"painter": "network"}}
    with pytest.raises(WorkError):
        ask(experiment, tree, plan=Plan(iterations=2), generator=painter, **asked)


def test_photos_of_defects_without_a_mask_are_counted(plain):
    assert early.undrawn({"tile": plain}) == []
    bare = [replace(r, mask=None) if r.label == "bar" else r for r in plain.records]
    count = sum(record.label == "bar" for record in bare)
    assert early.undrawn({"tile": plain, "bolt": replace(plain, records=tuple(bare))}) == [
        f"bolt: {count} photos of bar without a mask are neither learned from nor judged."
    ]


def test_other_peoples_pairs_of_a_later_product_are_read_first(tree, plain):
    (tree.parent / "pairs" / "bolt").mkdir(parents=True)
    with pytest.raises(BlemishError, match="bolt"):
        ask("anomalydiffusion", tree, generated={"dfmgan": tree.parent / "pairs"})
    with pytest.raises(ConfigError, match="a name of ours"):
        ask("anomalydiffusion", tree, generated={"draem": plain.root})


@pytest.mark.parametrize("option", ["lpips", "inception", "resnet"])
@pytest.mark.parametrize("content", [None, b"", "another network"])
def test_weights_that_cannot_be_used_are_told_first(tree, tmp_path, option, content):
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save({"a": torch.zeros(2)}, path)
    asked: dict[str, Any] = {option: path}
    if option == "resnet":
        asked = {"scale": replace(FAST, classifier=replace(FAST.classifier, weights=str(path)))}
    with pytest.raises(ArtifactError):
        ask("anomalydiffusion", tree, **asked)


def test_maps_from_elsewhere_have_a_row_of_their_own(tree):
    with pytest.raises(ConfigError, match="'diffusionad': it is the name of our row"):
        ask("diffusionad", tree, maps={"PatchCore": tree, "diffusionad": tree})
