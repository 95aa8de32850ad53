from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from blemish.data import Dataset, first_third, read_dataset, read_sample, write_sample
from blemish.errors import ArtifactError, ConfigError, DatasetError
from blemish.experiments import few_shot
from blemish.experiments.few_shot import (
    METHODS,
    Product,
    classification_cells,
    localisation_cells,
    painted,
    prepared,
)
from blemish.experiments.protocol import FAST, FewShot
from blemish.generation import read_manifest
from blemish.generation import settled as learn_settled
from blemish.generation.painter import Painter
from blemish.generator_config import GeneratorConfig
from blemish.records import Record
from blemish.runtime import file_sha256
from blemish.training import Plan

SCALE = replace(FAST, pairs=2)


def records(label: str, count: int, split: str = "train") -> tuple[Record, ...]:
    names = [f"{split}/{label}/{index}" for index in range(count)]
    return tuple(Record(Path(f"{n}.png"), label, split, Path(f"{n}_mask.png")) for n in names)


@pytest.fixture
def bolt() -> Product:
    """Two types that can be learned and judged, and one, dirt, that was seen only once."""
    goods, test_goods = records("good", 5), records("good", 3, "test")
    few = (*records("bar", 2), *records("dirt", 1), *records("spot", 2))
    rest = (*records("bar", 4, "test"), *records("spot", 4, "test"))
    sources = {
        "real": few,
        "generated": (*records("bar", 6), *records("spot", 6), *records("dirt", 6)),
        "draem": records("draem", 9),
        "half": records("bar", 3),
    }
    split = FewShot(few, rest, goods, test_goods)
    return Product("bolt", split, "object", ("mirror",), sources)


def test_a_method_names_its_sources_and_an_unknown_one_is_refused_with_the_known_ones(bolt):
    assert bolt.given("generated+real") == {n: bolt.sources[n] for n in ("generated", "real")}
    assert bolt.typed == ("real", "generated", "half")
    with pytest.raises(ConfigError, match="'dfmgan'") as error:
        bolt.given("real+dfmgan")
    assert "real, generated, draem, half" in str(error.value)
    assert "--generated dfmgan=FOLDER" in str(error.value)


def test_there_is_a_localiser_for_each_method_and_seed_which_all_are_judged_alike(bolt):
    methods = ("real", "draem", "generated+real")
    cells = list(localisation_cells(bolt, methods, SCALE, (0, 3), paper_protocol=True))
    assert [cell.name for cell in cells] == [
        f"bolt/localisation/{method}/seed{seed}" for method in methods for seed in (0, 3)
    ]
    for cell in cells:
        assert (cell.test, cell.goods) == (bolt.split.test, bolt.split.goods)
        assert (cell.settings, cell.turns, cell.paper_protocol) == (SCALE.localiser, ("mirror",), True)
    assert [cell.seed for cell in cells[:2]] == [0, 3]
    assert list(cells[4].sources) == ["generated", "real"]


def test_classifiers_learn_from_pairs_that_know_their_type_and_cover_all_that_is_tested(
    bolt, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("blemish"), "propagate", True)
    methods = ("real", "draem", "half", "generated+real", "generated+draem")
    cells = list(classification_cells(bolt, methods, SCALE, (0, 1)))
    assert [cell.name for cell in cells] == [
        f"bolt/classification/{method}/seed{seed}"
        for method in ("real", "generated+real")
        for seed in (0, 1)
    ]
    assert "no classifier of half, which has no pairs of spot" in caplog.text
    assert {cell.test for cell in cells} == {bolt.split.rest}
    assert {cell.settings for cell in cells} == {SCALE.classifier}


def test_a_product_with_one_type_has_no_classifier(bolt):
    split = replace(bolt.split, rest=records("bar", 4, "test"))
    assert not list(classification_cells(replace(bolt, split=split), ("real",), SCALE, (0,)))


def test_a_type_that_is_only_judged_is_not_asked_of_classifiers(bolt):
    split = replace(bolt.split, rest=(*bolt.split.rest, *records("chip", 2, "test")))
    (cell,) = classification_cells(replace(bolt, split=split), ("real",), SCALE, (0,))
    assert cell.test == bolt.split.rest


def test_passes_over_the_pairs_become_iterations(bolt):
    scale = replace(SCALE, pairs=1000, classifier_passes=150)
    (cell,) = classification_cells(bolt, ("real",), scale, (0,))
    assert cell.settings == replace(SCALE.classifier, iterations=150 * 1000 * 2 // 8)


def others(dataset: Dataset, root: Path) -> Path:
    """Return a folder of the defects of a dataset in other pixels, called test photos."""
    for record in dataset.defects:
        sample = read_sample(record)
        write_sample(root, record.label, record.image.stem, 255 - sample.image, sample.mask)
    return root


@pytest.fixture
def painting(monkeypatch) -> list[tuple[Any, ...]]:
    """Let the real defects be what is painted, and note what was asked for."""
    asked: list[tuple[Any, ...]] = []

    def paint(dataset, split, config, pairs, folder, **others):
        asked.append((dataset, split, config, pairs, folder, others))
        product = SimpleNamespace(turns=("flip",), kind="texture")
        return SimpleNamespace(config=SimpleNamespace(product=product)), split.few

    monkeypatch.setattr(few_shot, "painted", paint)
    return asked


def checked(
    dataset: Dataset, folder: Path, methods: Sequence[str], imported: Mapping[str, Path]
) -> Product:
    """Return a product as `reproduce anomalydiffusion` prepares it."""
    split = FewShot.of(dataset)
    found = few_shot.imported_pairs(split, methods, imported)
    return prepared(dataset, "tile", SCALE, folder, split=split, methods=methods, others=found)


def test_only_the_baselines_that_methods_name_are_drawn(plain, painting, tmp_path):
    methods = ("draem", "crop_and_paste+real", "generated")
    found = prepared(plain, "tile", SCALE, tmp_path, methods=methods)
    ((_, split, config, pairs, folder, _),) = painting
    assert (split, config, pairs) == (FewShot.of(plain), GeneratorConfig(), 2)
    assert folder == tmp_path / "generated"
    assert list(found.sources) == ["real", "generated", "crop_and_paste", "draem"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crop_and_paste", "draem"]
    assert Counter(r.label for r in found.sources["crop_and_paste"]) == {"bar": 2, "spot": 2}
    assert Counter(r.label for r in found.sources["draem"]) == {"draem": 4}
    assert (found.kind, found.turns, found.split) == ("texture", ("flip",), split)
    assert found.sources["real"] == split.few


def test_nothing_is_painted_that_no_method_names(plain, painting, tmp_path):
    config = GeneratorConfig.model_validate({"product": {"turns": []}})
    found = prepared(plain, "tile", SCALE, tmp_path, methods=("real", "crop_and_paste"), config=config)
    assert not painting
    assert list(found.sources) == ["real", "crop_and_paste"]
    settled = learn_settled(config, plain.train).product
    assert (found.kind, found.turns) == (settled.kind, settled.turns)
    assert found.kind in ("object", "texture")


@pytest.mark.usefixtures("painting")
def test_the_default_methods_name_all_baselines(plain, tmp_path):
    found = prepared(plain, "tile", SCALE, tmp_path)
    assert set(found.sources) == {part for method in METHODS for part in method.split("+")}


@pytest.mark.usefixtures("painting")
def test_other_peoples_pairs_are_for_training_whatever_they_are_called(plain, tmp_path):
    imported = {"dfmgan": others(plain, tmp_path / "pairs")}
    found = checked(plain, tmp_path, ("real",), imported)
    pairs = found.sources["dfmgan"]
    assert [record.label for record in pairs] == ["bar"] * 9 + ["spot"] * 9
    assert {record.split for record in pairs} == {"train"}


@pytest.mark.parametrize("whose", ["goods", "few", "dfmgan"])
def test_a_test_photo_is_learned_from_under_no_name(plain, painting, tmp_path, whose):
    root, pairs = tmp_path / "tile", others(plain, tmp_path / "pairs")
    shutil.copytree(plain.root, root)
    judged = root / "test" / "bar" / "08.png"
    if whose == "goods":
        copy = root / "train" / "good" / "zz.png"
        shutil.copy(root / "test" / "good" / "03.png", copy)
    elif whose == "few":
        copy = root / "train" / "bar" / "zz.png"
        copy.parent.mkdir()
        shutil.copy(judged, copy)
        shutil.copy(
            root / "ground_truth" / "bar" / "08_mask.png", root / "ground_truth/bar/zz_mask.png"
        )
    else:
        copy = pairs / "test" / "bar" / "00.png"
        shutil.copy(judged, copy)
    with pytest.raises(DatasetError, match="is the test photo") as error:
        checked(read_dataset(root), tmp_path, METHODS, {"dfmgan": pairs})
    assert str(copy) in str(error.value)
    assert error.value.hint
    assert not painting


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, "a name of ours") for name in ("real", "Generated", "draem", "crop_and_paste")),
        *((name, "a name of ours") for name in ("read_real", "test", "goods", "rest")),
        *((name, "take letters") for name in ("a/b", "a\\b", "a+b", "..", ".", "", " a", "a\n")),
    ],
)
def test_a_name_that_is_ours_or_none_for_a_folder_is_refused(plain, painting, tmp_path, name, message):
    with pytest.raises(ConfigError, match="cannot be called") as error:
        checked(plain, tmp_path, METHODS, {name: tmp_path / "pairs"})
    assert message in str(error.value)
    assert not painting


def test_names_of_others_may_have_signs_within_them(plain):
    few_shot.imported_pairs(FewShot.of(plain), (), {})
    for name in ("dfmgan", "DFMGAN 2.1", "my-gan_b", "ж2"):
        few_shot._refuse_name(name)


def test_a_folder_without_pairs_is_refused(plain, painting, tmp_path):
    shutil.copytree(plain.root / "train", tmp_path / "pairs" / "train")
    imported = {"dfmgan": tmp_path / "pairs"}
    with pytest.raises(DatasetError, match="has no defects with masks"):
        checked(plain, tmp_path, ("dfmgan",), imported)
    assert not painting


def test_what_cannot_be_done_is_refused_before_anything_is_painted(plain, painting, tmp_path):
    with pytest.raises(DatasetError, match="few-shot experiment"):
        prepared(replace(plain, records=plain.train), "tile", SCALE, tmp_path)
    imported = {"dfmgan": tmp_path / "nowhere"}
    with pytest.raises(DatasetError, match="nowhere"):
        checked(plain, tmp_path, METHODS, imported)
    methods, imported = ("real+draen", "dfmgan"), {"dfmgan": plain.root}
    with pytest.raises(ConfigError, match="no pairs of 'draen'") as error:
        checked(plain, tmp_path, methods, imported)
    known = "real, generated, crop_and_paste, poisson_paste, cut_paste, draem, dfmgan"
    assert f"choose of {known}, joined by +" in str(error.value)
    assert not painting


def test_a_generator_learns_from_the_few_alone_and_its_pairs_are_made_once(
    dataset, tmp_path, monkeypatch
):
    few, rest = first_third(dataset.defects)
    split = FewShot(few, rest, dataset.train, ())
    config = GeneratorConfig.model_validate({"product": {"kind": "object", "turns": []}})
    arguments = (dataset, split, config, 2, tmp_path)
    generator, pairs = painted(*arguments, device="cpu")
    learned = {photo["sha256"] for photo in generator.facts["photos"]}
    assert learned == {file_sha256(record.image) for record in few}
    everything = read_dataset(tmp_path / "pairs")
    assert pairs == everything.train_defects
    assert {(r.split, r.synthetic) for r in pairs} == {("train", True)}
    assert set(Counter(record.label for record in pairs).values()) <= {1, 2}
    assert len(everything.train) == len(split.goods)
    real = [read_sample(record).image for record in split.few]
    assert not any((read_sample(r).image == photo).all() for r in pairs for photo in real)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(few_shot, "learn", refuse)
    monkeypatch.setattr(few_shot.Generator, "make", refuse)
    assert painted(*arguments, device="cpu")[1] == pairs
    other = GeneratorConfig.model_validate({"product": {"kind": "texture", "turns": []}})
    fewer = replace(split, few=split.few[1:])
    masks = [record.mask for record in split.few]
    swapped = [replace(r, mask=m) for r, m in zip(split.few, masks[1:] + masks[:1], strict=True)]
    corrected = replace(split, few=tuple(swapped))
    renamed = replace(split, few=tuple(replace(record, label="dent") for record in split.few))
    for now in (split, fewer, corrected, renamed):
        with pytest.raises(ArtifactError, match="other settings, photos or masks"):
            painted(dataset, now, other if now is split else config, 2, tmp_path, device="cpu")


def test_patches_learn_no_masks_and_say_so_before_they_paint(dataset, tmp_path):
    few, rest = first_third(dataset.defects)
    split = FewShot(few, rest, dataset.train, ())
    given = {"product": {"kind": "object", "turns": []}, "learning": {"masks": True}}
    config = GeneratorConfig.model_validate(given)
    with pytest.raises(ConfigError, match="has not learned the shapes of masks"):
        painted(dataset, split, config, 2, tmp_path, device="cpu")
    assert not (tmp_path / "masks").exists()


def test_learned_masks_are_painted_and_a_killed_run_goes_on_with_the_next_one(
    dataset, small_backbone, tmp_path, monkeypatch
):
    few, rest = first_third(dataset.defects)
    split = FewShot(few, rest, dataset.train, ())
    network = {"backbone": str(small_backbone), "batch": 2, "precision": "fp32"}
    config = GeneratorConfig.model_validate(
        {
            "product": {"kind": "object", "turns": []},
            "learning": {**network, "masks": True},
            "painting": {"painter": "mixed", "handover": 1000},  # patches pass the gate
        }
    )
    drawn: list[tuple[str, int]] = []

    def draw(*given):
        _, label, _, _, (_, attempt) = given
        drawn.append((label, attempt))
        if len(drawn) == 4:
            raise KeyboardInterrupt
        mask = np.zeros((64, 64), np.bool_)
        mask[20 + attempt : 32, 20:32] = True
        return mask

    monkeypatch.setattr(Painter, "mask", draw)

    def paint():
        plan = Plan(iterations=2)
        return painted(dataset, split, config, 2, tmp_path, plan=plan, device="cpu")[1]

    with pytest.raises(KeyboardInterrupt):
        paint()
    assert len(list((tmp_path / "masks").rglob("*.png"))) == 3
    pairs = paint()
    own = {file_sha256(path) for path in (tmp_path / "masks").rglob("*.png")}
    entries = read_manifest(tmp_path / "pairs").entries.values()
    assert entries
    assert {entry.parameters["template_sha256"] for entry in entries} <= own
    assert paint() == pairs
    whole = [(label, attempt) for label in ("rust", "scratch") for attempt in range(2)]
    assert drawn == [*whole, whole[-1]]  # the one that was killed, again


@pytest.mark.parametrize("other", [None, Plan(iterations=3), Plan(seconds=2.0)])
def test_a_generator_that_learned_for_another_time_is_not_taken(
    dataset, small_backbone, tmp_path, other
):
    few, rest = first_third(dataset.defects)
    split = FewShot(few, rest, dataset.train, ())
    config = GeneratorConfig.model_validate(
        {
            "product": {"kind": "object", "turns": []},
            "learning": {"backbone": str(small_backbone), "batch": 2, "precision": "fp32"},
            "painting": {"painter": "mixed", "steps": 2, "transplants": 1.0},
        }
    )
    arguments = (dataset, split, config, 2, tmp_path)
    pairs = painted(*arguments, plan=Plan(iterations=2), device="cpu")[1]
    assert painted(*arguments, plan=Plan(iterations=2), device="cpu")[1] == pairs
    with pytest.raises(ArtifactError, match="of another plan"):
        painted(*arguments, plan=other, device="cpu")
