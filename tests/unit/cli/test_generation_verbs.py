"""What the verbs of the generator refuse, and what they do not need."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from blemish.data import read_image
from blemish.generation.saving import save_parts

pytestmark = pytest.mark.usefixtures("restored_logger")


def saved(generator, folder):
    backbone, embedding = generator.painter.backbone, generator.painter.embedding
    repertoire = generator.repertoire
    save_parts(folder, generator.config, repertoire, backbone, embedding, generator.facts)
    return folder


def contents(root):
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def painted(generator, dataset, tmp_path_factory) -> Path:
    """A folder of pairs: a dataset with a manifest."""
    out = tmp_path_factory.mktemp("painted") / "set"
    generator.generate(dataset.train, {"rust": 2}, out)
    return out


def test_a_call_for_another_type_leaves_the_first_ones_labels_true(blemish, generator, nuts, tmp_path):
    model, out = saved(generator, tmp_path / "generator"), tmp_path / "out"
    words = ["generate", model, nuts, "--out", out, "--count", 2, "--device", "cpu"]
    for label in ("rust", "scratch"):
        assert blemish(*words, "--types", label, "--formats", "coco", "yolo").code == 0
    names = json.loads((out / "yolo" / "data.yaml").read_text(encoding="utf-8"))["names"]
    files = list((out / "yolo" / "labels").rglob("*.txt"))
    assert {file.stem.partition("_")[0] for file in files} == {"rust", "scratch"}
    for file in files:
        label = file.stem.partition("_")[0]
        assert {names[int(line.split()[0])] for line in file.read_text().splitlines()} == {label}
    coco = json.loads((out / "coco.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in coco["categories"]] == ["rust", "scratch"]


@pytest.mark.parametrize("out", ["", "/more", "/train/good/../../train", "/..", "/../.."])
def test_pairs_are_not_painted_into_the_dataset_that_they_are_painted_of(
    blemish, generator, painted, tmp_path, out
):
    model, root = saved(generator, tmp_path / "generator"), tmp_path / "a" / "set"
    shutil.copytree(painted, root)
    before = contents(tmp_path)
    found = blemish("generate", model, root, "--out", f"{root}{out}", "--device", "cpu")
    assert found.code == 2
    assert "are one folder, or one lies in the other" in found.talk
    assert "hint: give --out a folder of its own" in found.talk
    assert contents(tmp_path) == before


def test_a_manifest_dataset_can_be_painted_on_into_another_folder(
    blemish, generator, painted, tmp_path
):
    words = ["generate", saved(generator, tmp_path / "generator"), painted]
    found = blemish(*words, "--out", tmp_path / "out", "--count", 1, "--device", "cpu")
    assert found.code == 0


@pytest.mark.parametrize("verb", ["generate", "masks"])
def test_a_region_that_is_not_there_is_said_with_what_to_do(blemish, generator, nuts, tmp_path, verb):
    words = [verb, saved(generator, tmp_path / "generator"), nuts, "--out", tmp_path / "out"]
    found = blemish(*words, "--region", tmp_path / "none.png", "--device", "cpu")
    assert found.code == 2
    assert str(tmp_path / "none.png") in found.talk
    assert "hint:" in found.talk
    assert "Errno" not in found.talk


def test_pairs_are_reviewed_beside_real_defects_without_the_backbone(
    blemish, trained, small_backbone, painted, tmp_path
):
    backbone = Path(shutil.copytree(small_backbone, tmp_path / "backbone"))
    model = saved(trained("network", backbone), tmp_path / "generator")
    shutil.rmtree(backbone)
    root = Path(shutil.copytree(painted, tmp_path / "set"))
    found = blemish("review", root, "--generator", model)
    assert found.code == 0
    assert read_image(Path(found.lines[0]["sheet"])).shape[1] == 8 + 4 * (192 + 8)


def test_a_pair_is_made_again_where_the_original_good_photos_are_gone(
    blemish, generator, nuts, tmp_path
):
    model, goods = saved(generator, tmp_path / "generator"), tmp_path / "nut"
    shutil.copytree(nuts, goods)
    words = ["generate", model, goods, "--out", tmp_path / "set", "--count", 1, "--types", "rust"]
    assert blemish(*words, "--device", "cpu").code == 0
    shutil.rmtree(goods)
    words = ["reproduce-sample", model, tmp_path / "set", "rust/0", "--out", tmp_path / "0.png"]
    found = blemish(*words, "--device", "cpu")
    assert found.code == 0
    assert found.lines[0]["identical"] is True
