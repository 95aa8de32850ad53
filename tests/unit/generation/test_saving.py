from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from blemish.artifacts import load_artifact, save_artifact
from blemish.config import validated
from blemish.data import read_dataset, read_image, write_png
from blemish.errors import ArtifactError, DependencyError
from blemish.generation import Generator, learn
from blemish.generation.repertoire import Repertoire
from blemish.generation.saving import load_repertoire, save_parts
from blemish.generator_config import GeneratorConfig
from blemish.runtime import file_sha256


def saved(generator: Generator, folder: Path) -> Path:
    save_parts(
        folder,
        generator.config,
        generator.repertoire,
        generator.painter.backbone,
        generator.painter.embedding,
        generator.facts,
    )
    return folder


@pytest.fixture(scope="module", params=["patches", "mixed", "network"])
def made(request, trained) -> Generator:
    return (
        request.getfixturevalue("generator") if request.param == "patches" else trained(request.param)
    )


@pytest.fixture
def folder(generator, tmp_path) -> Path:
    return saved(generator, tmp_path / "generator")


def test_what_is_saved_and_loaded_paints_the_same(made, dataset, tmp_path):
    loaded = Generator.load(saved(made, tmp_path / "generator"), device="cpu")
    assert (loaded.model, loaded.settings()) == (made.model, made.settings())
    assert (loaded.config, loaded.types, loaded.facts) == (made.config, made.types, made.facts)
    for label in made.types:
        one, other = (g.paint(dataset.train[1].image, label, seed=3) for g in (made, loaded))
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_what_is_normal_comes_back_bit_for_bit(made, tmp_path):
    loaded = Generator.load(saved(made, tmp_path / "generator"), device="cpu")
    known, found = (g.repertoire.normality.state_dict() for g in (made, loaded))
    assert known.keys() == found.keys()
    assert all(torch.equal(known[name], found[name]) for name in known)


def test_a_generator_of_before_says_what_its_gate_cannot_ask(generator, folder, monkeypatch):
    said = []
    monkeypatch.setattr("blemish.runtime.logger.warning", said.append)
    assert Generator.load(folder, device="cpu").repertoire.normality is not None
    assert not said
    old = copy.copy(generator)
    old.repertoire = Repertoire(generator.repertoire.exemplars, generator.repertoire.turns)
    loaded = Generator.load(saved(old, folder), device="cpu")
    assert loaded.repertoire.gate("rust").least_novelty is None
    assert len(said) == 1
    assert "learn again" in said[0]


def test_the_real_defects_come_back_in_order_and_bit_for_bit(made, tmp_path):
    loaded = Generator.load(saved(made, tmp_path / "generator"), device="cpu")
    for label, some in made.repertoire.exemplars.items():
        for one, other in zip(some, loaded.repertoire.exemplars[label], strict=True):
            np.testing.assert_array_equal(one.image, other.image)
            np.testing.assert_array_equal(one.template.mask, other.template.mask)
            np.testing.assert_array_equal(one.template.product, other.template.product)
            assert other.template.mask.dtype == np.bool_
            assert (other.label, other.template.source) == (label, one.template.source)
            assert other.template.sha256 == one.template.sha256
            assert other.sha256 == one.sha256


def test_each_real_defect_is_known_by_the_hash_of_its_photo(generator, dataset):
    """Of the test split as read: by label, then by name."""
    for label, some in generator.repertoire.exemplars.items():
        photos = [record for record in dataset.defects if record.label == label]
        assert [one.sha256 for one in some] == [file_sha256(record.image) for record in photos]
        for one, record in zip(some, photos, strict=True):
            np.testing.assert_array_equal(one.image, read_image(record.image))


def test_a_card_without_the_photos_is_read_and_their_names_are_not_known(folder):
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    del card["facts"]["photos"]
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    loaded = Generator.load(folder, device="cpu")
    assert {one.sha256 for some in loaded.repertoire.exemplars.values() for one in some} == {""}


def test_the_light_of_the_product_is_kept(made, tmp_path):
    loaded = Generator.load(saved(made, tmp_path / "generator"), device="cpu")
    for name in ("level", "spread"):
        kept, own = (getattr(one.painter.backbone, name) for one in (loaded, made))
        assert torch.equal(kept, own)
        assert kept != {"level": 0.5, "spread": 0.25}[name]


def test_an_adapted_network_is_kept_in_half_precision_and_a_frozen_one_not_at_all(trained, tmp_path):
    adapted, frozen = (trained("network", network=adapts) for adapts in (True, False))
    tensors, _ = load_artifact(saved(adapted, tmp_path / "adapted"))
    state = adapted.painter.backbone.network.state_dict()
    kept = {n.removeprefix("network."): v for n, v in tensors.items() if n.startswith("network.")}
    assert kept.keys() == state.keys()
    assert all(torch.equal(value, state[name].half()) for name, value in kept.items())
    tensors, _ = load_artifact(saved(frozen, tmp_path / "frozen"))
    assert not [name for name in tensors if name.startswith("network.")]


def test_a_folder_of_something_else_is_not_loaded(tmp_path):
    with pytest.raises(ArtifactError, match="not a saved model"):
        Generator.load(tmp_path)
    save_artifact(tmp_path / "detector", {"a": torch.zeros(1)}, {"kind": "detector"})
    with pytest.raises(ArtifactError, match="holds a detector, expected a generator"):
        Generator.load(tmp_path / "detector")


def test_a_folder_of_something_else_is_not_overwritten(generator, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="is not a saved model"):
        saved(generator, tmp_path / "thesis")


def test_damaged_weights_are_noticed(folder):
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="is not the file"):
        Generator.load(folder)


def without(name):
    return lambda card: {key: value for key, value in card.items() if key != name}


CARDS = {
    "no config": without("config"),
    "no light": without("light"),
    "no exemplars": without("exemplars"),
    "one exemplar more": lambda card: card | {"exemplars": card["exemplars"] * 2},
    "light of a word": lambda card: card | {"light": ["bright", 1]},
    "embedding of nothing": lambda card: card | {"embedding": {"types": ["rust"], "shape": {}}},
}


MORE = {
    "no facts": without("facts"),
    "undecided turns": lambda card: card | {"config": {"product": {"kind": "object"}}},
}


@pytest.mark.parametrize(
    "damage",
    [
        *(pytest.param(damage, id=name) for name, damage in {**CARDS, **MORE}.items()),
    ],
)
def test_a_card_that_does_not_fit_its_weights_is_refused(folder, damage):
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps(damage(card)), encoding="utf-8")
    with pytest.raises(ArtifactError, match="does not fit its own card"):
        Generator.load(folder, device="cpu")


def test_a_generator_needs_the_backbone_that_it_learned_with(trained, small_backbone, tmp_path):
    copy = Path(shutil.copytree(small_backbone, tmp_path / "backbone"))
    folder = saved(trained("network", copy), tmp_path / "generator")
    shutil.rmtree(copy)
    with pytest.raises(DependencyError):
        Generator.load(folder, device="cpu")


def test_the_real_defects_can_be_looked_at_without_the_backbone(trained, small_backbone, tmp_path):
    copy = Path(shutil.copytree(small_backbone, tmp_path / "backbone"))
    generator = trained("network", copy)
    folder = saved(generator, tmp_path / "generator")
    shutil.rmtree(copy)
    found = load_repertoire(folder)
    assert list(found.exemplars) == list(generator.types)
    for label in generator.types:
        for (image, mask), own in zip(found.real(label), generator.repertoire.real(label), strict=True):
            np.testing.assert_array_equal(image, own[0])
            np.testing.assert_array_equal(mask, own[1])
    save_artifact(tmp_path / "detector", {"a": torch.zeros(1)}, {"kind": "detector"})
    with pytest.raises(ArtifactError, match="holds a detector, expected a generator"):
        load_repertoire(tmp_path / "detector")


@pytest.mark.parametrize("other", ["turns", "light"])
def test_generators_that_paint_otherwise_are_other_models(nuts, tmp_path, other):
    """Or pairs of both could be mixed in one folder, and `reproduce` would give another picture."""
    product = {"kind": "object", "turns": ["mirror"]}
    goods = Path(shutil.copytree(nuts, tmp_path / "nut"))
    one = learned(goods, product, tmp_path / "one")
    if other == "light":
        for record in read_dataset(goods).train[:4]:
            write_png(record.image, read_image(record.image) // 2)
    else:
        product["turns"] = []
    another = learned(goods, product, tmp_path / "another")
    photo = read_dataset(nuts).train[-1].image
    paintings = {
        generator.paint(photo, "rust", seed=seed).image.tobytes()
        for generator in (one, another)
        for seed in range(3)
    }
    assert len(paintings) > 3
    assert (one.model, one.settings()) != (another.model, another.settings())


def learned(root: Path, product: dict, folder: Path) -> Generator:
    config = validated(GeneratorConfig, {"product": product})
    return learn(read_dataset(root), config, folder, device="cpu")
