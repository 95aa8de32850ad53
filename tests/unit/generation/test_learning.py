from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from blemish.backbones.embedded import Embedded
from blemish.config import read_yaml, validated
from blemish.data import append_manifest, read_dataset, read_image, write_png, write_sample
from blemish.errors import ArtifactError, BlemishError, ConfigError, DatasetError
from blemish.generation import Generator, Scores, Verdict, few_shot, learn, window_around
from blemish.generation.inversion import Inversion
from blemish.generation.prior import READERS, described
from blemish.generator_config import GeneratorConfig
from blemish.networks import Describer, LiteEncoder
from blemish.networks.spatial import SmallSpatialEncoder
from blemish.randomness import stream_seed
from blemish.records import Record
from blemish.runtime import file_sha256
from blemish.training import Plan
from tiny_backbones import write_ldm

SETTLED = {"product": {"kind": "object", "turns": ["mirror"]}}
TWO = Plan(iterations=2, validations=1)


def settings(**sections):
    return validated(GeneratorConfig, SETTLED | sections)


def grey(level):
    return np.full((20, 24, 3), level, np.uint8)


def spot():
    mask = np.zeros((20, 24), np.bool_)
    mask[5:9, 6:12] = True
    return mask


def add(root, label, *stems, split="test", mask=True):
    for stem in stems:
        drawn = spot() if mask and label != "good" else None
        write_sample(root, label, stem, grey(hash_level(stem)), drawn, split=split)


def hash_level(stem):
    return stream_seed(0, stem) % 200


def names(records):
    return [f"{record.label}/{record.image.stem}" for record in records]


@pytest.fixture
def tree(tmp_path):
    """Two types of defects in the test split, the lowest names not the first in the alphabet."""
    add(tmp_path, "good", "1", split="train")
    add(tmp_path, "dent", "10", "9", "2", "30")
    add(tmp_path, "crack", "b", "a")
    return tmp_path


def test_the_lowest_names_of_each_type_are_learned_from(tree):
    assert names(few_shot(read_dataset(tree), 2)) == ["crack/a", "crack/b", "dent/2", "dent/9"]
    assert names(few_shot(read_dataset(tree), 1)) == ["crack/a", "dent/2"]


def test_without_a_number_all_are_learned_from_and_with_a_large_one_all_there_are(tree):
    every = ["crack/a", "crack/b", "dent/2", "dent/9", "dent/10", "dent/30"]
    assert names(few_shot(read_dataset(tree))) == names(few_shot(read_dataset(tree), 99)) == every


def test_a_third_is_that_of_the_paper(tree):
    """max(1, floor(n / 3)) of 2 and of 6."""
    add(tree, "dent", "31", "32")
    assert names(few_shot(read_dataset(tree), "third")) == ["crack/a", "dent/2", "dent/9"]


@pytest.mark.parametrize("shots", [1, "third", None])
def test_who_is_learned_from_is_of_the_training_split(tree, shots):
    assert {record.split for record in few_shot(read_dataset(tree), shots)} == {"train"}


@pytest.mark.parametrize("shots", [1, "third", None])
def test_training_defects_come_before_those_of_the_test_split(tree, shots):
    add(tree, "dent", "40", split="train")
    assert names(few_shot(read_dataset(tree), shots)) == ["dent/40"]


def test_photos_without_a_mask_and_generated_ones_are_left_out(tree):
    add(tree, "hole", "1", mask=False)
    assert "hole/1" not in names(few_shot(read_dataset(tree)))
    for record in read_dataset(tree).records:
        made = record.image.stem in ("2", "a")
        append_manifest(tree, Record(record.image, record.label, record.split, record.mask, made))
    expected = ["crack/b", "dent/9", "dent/10", "dent/30"]
    assert names(few_shot(read_dataset(tree))) == expected


def test_without_any_mask_there_is_nothing_to_learn_from(tree):
    shutil.rmtree(tree / "ground_truth")
    with pytest.raises(DatasetError, match="no photo of a defect with a mask"):
        few_shot(read_dataset(tree))


def test_types_that_are_not_learned_are_named_with_the_reason(tree, caplog):
    add(tree, "hole", "1", mask=False)
    few_shot(read_dataset(tree))
    assert "no photo of the dataset shows them with a mask: hole" in caplog.text
    add(tree, "dent", "40", split="train")
    few_shot(read_dataset(tree))
    assert "no photo of the training split shows them with a mask: crack, hole" in caplog.text


def test_masks_of_the_test_split_do_not_count_where_training_has_defects(tree):
    """As a manifest may have it: the photo of the training split alone has no mask."""
    add(tree, "dent", "40", split="train")
    for record in read_dataset(tree).records:
        append_manifest(tree, replace(record, mask=None) if record.split == "train" else record)
    with pytest.raises(DatasetError, match="with a mask among its training photos"):
        few_shot(read_dataset(tree))


@pytest.mark.parametrize("label", ["../../evil", "deep/scratch", ".hidden"])
def test_a_type_whose_name_cannot_be_a_folders_is_refused(tree, label):
    for record in read_dataset(tree).records:
        name = label if record.label == "dent" else record.label
        append_manifest(tree, replace(record, label=name))
    with pytest.raises(DatasetError, match="makes no file name"):
        few_shot(read_dataset(tree))


@pytest.fixture
def copied(nuts, tmp_path) -> Path:
    return Path(shutil.copytree(nuts, tmp_path / "nut"))


def test_no_photo_but_the_good_ones_and_the_few_is_opened(copied, tmp_path):
    add(copied, "good", "t", split="test")
    dataset = read_dataset(copied)
    few = few_shot(dataset, 1)
    kept = {record.image for record in (*few, *dataset.train)}
    for record in dataset.records:
        if record.image not in kept:
            record.image.unlink()
            if record.mask is not None:
                record.mask.unlink()
    generator = learn(dataset, GeneratorConfig(), tmp_path / "run", shots=1, device="cpu")
    assert generator.types == ("rust", "scratch")
    assert generator.facts["shots"] == 1
    assert generator.facts["photos"] == [
        {
            "type": label,
            "image": f"test/{label}/000.png",
            "sha256": file_sha256(record.image),
            "mask_sha256": file_sha256(record.mask),
        }
        for label, record in zip(("rust", "scratch"), few, strict=True)
    ]


def test_the_few_photos_are_kept_as_they_are(generator, dataset):
    for record in few_shot(dataset):
        kept = generator.repertoire.exemplars[record.label]
        (same,) = (one for one in kept if one.template.sha256 == file_sha256(record.mask))
        np.testing.assert_array_equal(same.image, read_image(record.image))
        assert same.template.source == record.mask.name
        assert same.template.product.any()
        assert not same.template.product.all()


def test_what_was_left_open_is_decided_and_written_down(generator):
    assert GeneratorConfig().product.kind == GeneratorConfig().product.turns == "auto"
    assert generator.kind == generator.config.product.kind == "object"
    assert isinstance(generator.config.product.turns, tuple)
    assert generator.repertoire.turns == generator.config.product.turns


def test_the_settings_of_the_run_lie_beside_it(dataset, tmp_path):
    given = settings(masks={"rotation": 5.0})
    learn(dataset, given, tmp_path / "run", device="cpu")
    assert validated(GeneratorConfig, read_yaml(tmp_path / "run" / "generator.yaml")) == given


def test_without_good_photos_there_is_nothing_to_paint_on(copied, tmp_path):
    shutil.rmtree(copied / "train")
    with pytest.raises(DatasetError, match="no good training photo"):
        learn(read_dataset(copied), settings(), tmp_path / "run", device="cpu")


def test_a_folder_with_a_run_is_left_alone_unless_it_is_resumed(dataset, tmp_path):
    first = learn(dataset, settings(), tmp_path / "run", device="cpu")
    with pytest.raises(ArtifactError, match="holds a run already"):
        learn(dataset, settings(), tmp_path / "run", device="cpu")
    again = learn(dataset, settings(), tmp_path / "run", device="cpu", resume=True)
    assert again.model == first.model


def test_a_start_that_fails_leaves_the_folder_free_for_the_next(copied, tmp_path):
    dataset = read_dataset(copied)
    record = few_shot(dataset)[0]
    mask = record.mask.read_bytes()
    write_png(record.mask, np.zeros(read_image(record.image).shape[:2], np.bool_))
    with pytest.raises(DatasetError, match=f"{record.mask} of a {record.label} is empty"):
        learn(dataset, settings(), tmp_path / "run", device="cpu")
    record.mask.write_bytes(mask)
    assert learn(dataset, settings(), tmp_path / "run", device="cpu").types == ("rust", "scratch")


def test_of_one_good_part_nothing_is_known_about_how_good_parts_differ(copied, tmp_path, caplog):
    first, *others = read_dataset(copied).train
    for record in others:
        record.image.unlink()
    generator = learn(read_dataset(copied), settings(), tmp_path / "run", device="cpu")
    assert "all good photos show one part" in caplog.text
    caplog.clear()
    (entry,) = generator.generate([first], {"rust": 1}, tmp_path / "out")
    assert entry.scores["novelty"] is None
    Generator.load(tmp_path / "run" / "generator", device="cpu")
    assert "older version" not in caplog.text


@pytest.mark.parametrize(
    "other",
    [
        {"masks": {"rotation": 5.0}},
        {"learning": {"seed": 1}},
        {"product": {"kind": "object", "turns": []}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_run_is_not_resumed_with_other_settings(dataset, tmp_path, other):
    learn(dataset, settings(), tmp_path / "run", device="cpu")
    with pytest.raises(ArtifactError, match="started with other settings"):
        learn(dataset, settings(**other), tmp_path / "run", device="cpu", resume=True)


def test_a_network_needs_a_plan(dataset, small_backbone, tmp_path):
    given = settings(painting={"painter": "network"}, learning={"backbone": str(small_backbone)})
    with pytest.raises(ConfigError, match="give a plan"):
        learn(dataset, given, tmp_path / "run", device="cpu")


def test_a_network_learns_tokens_its_weights_and_the_shapes_of_masks(network, small_backbone):
    assert network.facts["defects"]["iterations"] == network.facts["masks"]["iterations"] == 2
    fresh = Embedded.load(small_backbone, device=torch.device("cpu"), dtype=torch.float32)
    learned = network.painter.backbone.network.state_dict()
    assert any(not torch.equal(value, learned[n]) for n, value in fresh.network.state_dict().items())
    assert network.painter.embedding.types == ("rust", "scratch")
    assert network.painter.mask("rust", 1.0, 2, (0, 0)).shape == (64, 64)


def test_a_network_that_shall_not_adapt_stays_as_it_was(trained, small_backbone):
    generator = trained("network", network=False)
    fresh = Embedded.load(small_backbone, device=torch.device("cpu"), dtype=torch.float32)
    learned = generator.painter.backbone.network.state_dict()
    assert all(torch.equal(value, learned[n]) for n, value in fresh.network.state_dict().items())


def test_tokens_that_tell_no_place_have_no_size(trained):
    embedding = trained("network", spatial=False).painter.embedding
    masks = torch.zeros(2, 1, 64, 64)
    masks[0, :, 5:20, 5:20] = masks[1, :, 40:44, 30:60] = 1
    with torch.no_grad():
        one, other = embedding(["rust", "rust"], masks)
    assert torch.equal(one, other)
    assert not one[-4:].any()


@pytest.mark.parametrize("asked", ["auto", "off"])
def test_types_that_the_network_leaves_unfilled_are_found_when_that_is_asked_for(
    dataset, small_backbone, tmp_path, monkeypatch, asked
):
    """The median fill of six paintings: 0 for rust, 1 for scratches; real ones fill half at least."""
    fills = {"rust": (0, 1, 0, 0, 1, 0), "scratch": (1, 0, 1, 1, 0, 1)}
    ways = []

    def make(self, _, label, index):
        painting, quality = self.config.painting, self.config.quality
        ways.append((painting.reweighting, painting.transplants, quality.attempts))
        scores = Scores(change=5, fill=fills[label][index], outside=0, seam=1, copy=0)
        return SimpleNamespace(verdict=Verdict(scores, ()))

    monkeypatch.setattr(Generator, "make", make)
    learning = {"backbone": str(small_backbone), "batch": 2, "precision": "fp32"}
    painting = {"painter": "network", "reweighting": asked, "form": "probs"}
    given = settings(learning=learning, painting=painting)
    generator = learn(dataset, given, tmp_path / "run", TWO, device="cpu")
    assert generator.facts.get("unfilled") == {"auto": ["rust"], "off": None}[asked]
    assert generator.painter.unfilled == ({"rust"} if asked == "auto" else set())
    assert ways == ([("off", 0, 1)] * 12 if asked == "auto" else [])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("updates", [1, 2, 3])
def test_a_network_run_killed_between_its_updates_ends_as_if_it_had_not_been(
    dataset, small_backbone, tmp_path, network, monkeypatch, updates
):
    """Two updates learn the defects, two more the shapes of masks."""
    drawn = []

    def until_killed(*words):
        for batch in batches(*words):
            if len(drawn) == updates:
                raise Killed
            drawn.append(batch)
            yield batch

    batches = Inversion.batches
    learning = {"backbone": str(small_backbone), "batch": 2, "precision": "fp32", "masks": True}
    given = settings(learning=learning, painting={"painter": "network", "steps": 3})
    plan = replace(TWO, checkpoint_seconds=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Inversion, "batches", until_killed)
        with pytest.raises(Killed):
            learn(dataset, given, tmp_path / "run", plan, device="cpu")
    resumed = learn(dataset, given, tmp_path / "run", plan, device="cpu", resume=True)
    assert resumed.model == network.model


def test_a_network_run_is_not_resumed_with_other_photos(dataset, small_backbone, tmp_path):
    learning = {"backbone": str(small_backbone), "batch": 2, "precision": "fp32"}
    given = settings(learning=learning, painting={"painter": "network"})
    learn(dataset, given, tmp_path / "run", TWO, shots=1, device="cpu")
    with pytest.raises(ArtifactError):
        learn(dataset, given, tmp_path / "run", TWO, shots=2, device="cpu", resume=True)


@pytest.fixture
def ldm(tmp_path) -> Path:
    return write_ldm(tmp_path / "ldm")


def test_a_pretrained_backbone_paints_as_a_network_and_has_no_patches(trained, ldm, dataset):
    generator = trained("network", ldm)
    painting = generator.paint(dataset.train[0].image, "rust")
    photo = read_image(dataset.train[0].image)
    np.testing.assert_array_equal(painting.image[~painting.mask], photo[~painting.mask])
    assert (painting.image[painting.mask] != photo[painting.mask]).any()
    for painter in ("patches", "mixed"):
        with pytest.raises(ConfigError, match="needs the embedded backbone"):
            generator.with_settings({"painting": {"painter": painter}})


def test_a_mixture_on_a_pretrained_backbone_is_refused_before_anything_is_learned(
    dataset, ldm, tmp_path
):
    learning = {"backbone": str(ldm), "batch": 2, "precision": "fp32"}
    given = settings(learning=learning, painting={"painter": "mixed"})
    with pytest.raises(ConfigError, match="needs the embedded backbone"):
        learn(dataset, given, tmp_path / "run", TWO, device="cpu")
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.fixture
def readers(small_backbone, tmp_path) -> Path:
    """The backbone with untrained readers beside it, as the prior's training writes them."""
    folder = Path(shutil.copytree(small_backbone, tmp_path / "prior"))
    noise = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    modules = {
        "describer": Describer(8, 8),
        "spatial": SmallSpatialEncoder(4, 8),
        "encoder": LiteEncoder.imagenet(noise),
    }
    state = {
        f"{part}.{name}": value.contiguous()
        for part, module in modules.items()
        for name, value in module.state_dict().items()
    }
    save_file(state, folder / READERS)
    return folder


def test_learning_starts_from_what_the_priors_readers_see(trained, readers):
    generator = trained("network", readers, embedding_lr=1e-12, encoder_lr=1e-12)
    state, embedding = load_file(readers / READERS), generator.painter.embedding
    for index, label in enumerate(generator.types):
        squares = []
        for image, mask in generator.repertoire.real(label):
            window = window_around(mask, 64)
            squares.append((window.cut(image), window.cut_mask(mask)))
        seen = described(state, squares, (8, 8)).mean(0)
        torch.testing.assert_close(embedding.anomaly[index].detach(), seen, rtol=0, atol=1e-5)
    own = embedding.encoder.state_dict()
    for name, value in own.items():
        torch.testing.assert_close(value, state[f"spatial.{name}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", ["anomaly_tokens", "spatial_tokens"])
def test_readers_of_another_number_of_tokens_do_not_end_in_a_traceback(trained, readers, count):
    try:
        generator = trained("network", readers, **{count: 3})
    except BlemishError:
        return
    assert generator.painter.embedding.shape[count] == 3
