from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from blemish.data import write_png, write_sample
from blemish.errors import ConfigError, DatasetError
from blemish.experiments.protocol import FAST, PAPER
from blemish.experiments.request import Request
from blemish.generator_config import GeneratorConfig


def request(data: Path, **changes: object) -> Request:
    return Request(data=data, out=Path("out"), scale=FAST, **changes)


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    """A tree of two products."""
    for product in ("nut", "bolt"):
        write_sample(tmp_path / product, "good", "0", np.zeros((8, 8, 3), np.uint8), split="train")
    return tmp_path


def test_the_products_of_a_tree_are_all_or_those_that_are_named(factory):
    assert list(request(factory).products()) == ["bolt", "nut"]
    found = request(factory, categories=("nut",)).products()
    assert {name: dataset.root for name, dataset in found.items()} == {"nut": factory / "nut"}


def test_one_product_has_the_name_of_its_folder(factory, monkeypatch):
    assert list(request(factory / "nut").products()) == ["nut"]
    monkeypatch.chdir(factory / "nut")
    assert list(request(Path()).products()) == ["nut"]


def test_a_plain_folder_of_photos_is_a_product_too(tmp_path):
    write_sample(tmp_path / "bolt", "good", "0", np.zeros((8, 8, 3), np.uint8), split="train")
    (tmp_path / "bolt" / "train" / "good").rename(tmp_path / "bolt" / "good")
    (tmp_path / "bolt" / "train").rmdir()
    (dataset,) = request(tmp_path / "bolt").products().values()
    assert (dataset.layout, len(dataset.train)) == ("folder", 1)


def test_a_manifest_is_believed_before_the_folders_beside_it(factory):
    line = '{"image": "train/good/0.png", "label": "good", "split": "test"}'
    (factory / "nut" / "manifest.jsonl").write_text(line + "\n", encoding="utf-8")
    (dataset,) = request(factory / "nut").products().values()
    assert (dataset.layout, len(dataset.train), len(dataset.test)) == ("manifest", 0, 1)


def test_a_product_that_is_not_there_is_named_with_those_that_are(factory):
    with pytest.raises(DatasetError, match="has no gear, screw") as error:
        request(factory, categories=("screw", "nut", "gear")).products()
    assert "it has: bolt, nut" in str(error.value)
    with pytest.raises(DatasetError):
        request(factory / "nowhere").products()


def test_a_tree_with_a_damaged_product_is_refused_for_what_is_wrong_in_it(factory):
    defect = np.zeros((8, 8, 3), np.uint8)
    write_sample(factory / "nut", "dent", "0", defect, defect[..., 0] == 0)
    write_sample(factory / "nut", "dent", "1", defect)
    with pytest.raises(DatasetError, match=r"nut.*dent.*1\.png"):
        request(factory).products()


@pytest.fixture
def visa(tmp_path: Path) -> Path:
    """VisA with one product, as it comes out of its archive."""
    photo = np.zeros((8, 8, 3), np.uint8)
    lines = ["object,split,label,image,mask"]
    for split in ("train", "test"):
        place = f"candle/Data/Images/Normal/{split}.png"
        write_png(tmp_path / place, photo)
        lines.append(f"candle,{split},normal,{place},")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_a_damaged_benchmark_is_not_taken_for_a_plain_product(visa):
    assert list(request(visa).products()) == ["candle"]
    (visa / "candle/Data/Images/Normal/test.png").unlink()
    with pytest.raises(DatasetError, match=r"1cls\.csv line 3: .*test\.png does not exist"):
        request(visa).products()


def test_what_is_wrong_with_a_plain_folder_is_told(tmp_path):
    photo = np.zeros((8, 8, 3), np.uint8)
    write_png(tmp_path / "bolt" / "good" / "0.png", photo)
    write_png(tmp_path / "bolt" / "dent" / "0.png", photo)
    write_png(tmp_path / "bolt" / "dent" / "1.png", photo)
    write_png(tmp_path / "bolt" / "masks" / "dent" / "0_mask.png", photo[..., 0] == 0)
    with pytest.raises(DatasetError, match=r"dent.*1\.png has no mask"):
        request(tmp_path / "bolt").products()
    (tmp_path / "bolt" / "masks" / "dent" / "0_mask.png").unlink()
    assert list(request(tmp_path / "bolt").products()) == ["bolt"]
    with pytest.raises(DatasetError, match="has no nonsense"):
        request(tmp_path / "bolt", categories=("nonsense",)).products()


def test_a_manifest_has_no_other_categories_than_its_folder(factory):
    line = '{"image": "train/good/0.png", "label": "good", "split": "test"}'
    (factory / "nut" / "manifest.jsonl").write_text(line + "\n", encoding="utf-8")
    assert list(request(factory / "nut", categories=("nut",)).products()) == ["nut"]
    with pytest.raises(DatasetError, match="has no nonsense") as error:
        request(factory / "nut", categories=("nonsense",)).products()
    assert "it has: nut" in str(error.value)


def test_settings_are_the_scales_preset_with_what_was_asked_for_and_the_seed(factory):
    asked = {"data": {"size": 64}, "training": {"seed": 9, "validations": 3}}
    found = request(factory, inspector=asked).settings(4, {"diffusion": {"guidance": 2.0}})
    assert (found.preset, found.data.size, found.diffusion.guidance) == ("fast", 64, 2.0)
    assert (found.training.seed, found.training.validations) == (4, 3)
    assert Request(factory, Path("out"), PAPER).settings(0).preset == "paper"
    with pytest.raises(ConfigError, match=r"training\.sead"):
        request(factory, inspector={"training": {"sead": 1}}).settings(0)


def test_a_generators_settings_are_its_defaults_with_what_was_asked_for(factory):
    asked = {"masks": {"rotation": 5}}
    found = request(factory, generator=asked).generator_settings({"painting": {"steps": 7}})
    assert (found.masks.rotation, found.painting.steps) == (5, 7)
    with pytest.raises(ConfigError, match=r"painting\.step"):
        request(factory, generator={"painting": {"step": 1}}).generator_settings()


def test_at_the_papers_scale_the_papers_generator_paints_unless_another_is_asked_for(factory):
    assert request(factory).generator_settings() == GeneratorConfig()
    found = Request(factory, Path("out"), PAPER).generator_settings()
    assert found.learning.backbone == "CompVis/ldm-text2im-large-256"
    assert (found.learning.encoder, found.learning.network) == ("paper", False)
    assert (found.learning.batch, found.learning.embedding_lr) == (4, 5e-3)
    how = found.painting
    assert (how.painter, how.solver, how.steps, how.spacing, how.eta) == ("network", "ddim", 200, 1, 1)
    assert (how.transplants, how.shrink, found.masks.stray, found.quality.attempts) == (0, 8, 0, 1)
    other = {"painting": {"painter": "patches"}}
    found = Request(factory, Path("out"), PAPER, generator=other).generator_settings()
    assert (found.painting.painter, found.painting.steps) == ("patches", 200)


def test_the_facts_name_scale_seeds_and_data(factory):
    facts = request(factory / "nut", seeds=(0, 3)).facts([])
    assert (facts["scale"], facts["seeds"], facts["data"]) == ("fast", "0, 3", "nut")
    assert all(isinstance(value, str) for value in facts.values())
