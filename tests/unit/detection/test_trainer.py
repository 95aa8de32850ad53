from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blemish.artifacts import load_artifact
from blemish.config import InspectorConfig, parse, read_yaml
from blemish.data import read_dataset, read_split, write_sample
from blemish.detection import TrainedDetector, train, trainer
from blemish.detection.evidence import Opinion, usual
from blemish.detection.photos import Photos
from blemish.detection.trainer import InspectorTask, calibrated
from blemish.errors import ArtifactError, BlemishError, DatasetError
from blemish.networks.kinship import families
from blemish.runtime import file_sha256
from blemish.training import Plan
from blemish.verdicts import Detector

ONE = Plan(iterations=1, validations=1)


def test_a_run_folder_holds_all_that_tells_its_story(run_folder, product, tiny):
    assert parse(read_yaml(run_folder / "config.yaml")) == tiny()
    split = read_split(run_folder / "split.json", read_dataset(product).root)
    assert (len(split.train), len(split.validation)) == (9, 3)
    log = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
    assert [(line["event"], line["iteration"]) for line in log] == [
        ("validation", 5),
        ("train", 10),
        ("validation", 10),
    ]
    with Image.open(run_folder / "sheets" / "0000010.png") as sheet:
        assert sheet.width > 4 * 64


def test_the_threshold_is_set_on_the_held_out_photos_as_if_they_were_new(run_folder, product, tiny):
    dataset = read_dataset(product)
    split = read_split(run_folder / "split.json", dataset.root)
    kin = dict(zip(dataset.train, families(dataset.train, tiny().data.size), strict=True))
    mine = [kin[record] for record in split.validation]
    weights, card = load_artifact(run_folder / "detector")
    found = calibrated(tiny(), weights, split, card["facts"], "cpu", mine)
    assert sorted(card["calibration"]["scores"]) == pytest.approx(found.calibration.scores, abs=1e-5)
    known = sorted(found.predict(record.image).score for record in split.validation)
    assert all(s > k for s, k in zip(found.calibration.scores, known, strict=True))
    for record, family in zip(split.validation, mine, strict=True):  # as if its patches were not there
        (score,) = found.scores_as_new([record.image], [family])
        apart = TrainedDetector.load(run_folder / "detector", device="cpu")
        for memory in apart.inspector.memory.children():
            other = memory.bank[memory.owner != family]
            memory.bank.copy_(other[torch.arange(len(memory.bank)) % len(other)])
        assert apart.predict(record.image).score == pytest.approx(score, abs=1e-5)


def test_all_good_photos_are_remembered(run_folder, product):
    split = read_split(run_folder / "split.json", read_dataset(product).root)
    weights = load_artifact(run_folder / "detector")[0]
    banks = [name for name in weights if name.endswith("owner")]
    assert len(banks) == 3
    for name in banks:
        assert len(weights[name].unique()) > len(split.train) / 2


@pytest.fixture
def nothing_read(monkeypatch):
    """Let the test fail where photos are read."""

    def fail(*_: object) -> None:
        raise AssertionError("photos were read")

    monkeypatch.setattr(trainer, "families", fail)


@pytest.mark.usefixtures("nothing_read")
def test_a_folder_with_a_run_is_left_alone_before_any_photo_is_read(run_folder, product, tiny):
    with pytest.raises(ArtifactError, match="holds a run already"):
        train(read_dataset(product), tiny(), run_folder, ONE, device="cpu")


@pytest.mark.usefixtures("nothing_read")
def test_what_can_be_refused_at_once_is_and_leaves_no_folder(product, tiny, tmp_path):
    bare, folder = tiny(synthesis={"textures": str(tmp_path / "nowhere")}), tmp_path / "run"
    with pytest.raises(DatasetError, match="expected pictures below"):
        train(read_dataset(product), bare, folder, ONE, device="cpu")
    with pytest.raises(BlemishError, match="no tracker 'notebook'"):
        train(read_dataset(product), tiny(), folder, replace(ONE, trackers=("notebook",)), device="cpu")
    assert not folder.exists()


def test_a_start_that_was_refused_late_is_put_right_with_other_settings(
    product, tiny, tmp_path, monkeypatch
):
    def refuse(*_: object, **__: object) -> None:
        raise BlemishError("not like this")

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "InspectorTask", refuse)
        with pytest.raises(BlemishError, match="not like this"):
            train(read_dataset(product), tiny(training={"seed": 1}), tmp_path, ONE, device="cpu")
    assert (tmp_path / "split.json").exists()
    assert train(read_dataset(product), tiny(), tmp_path, ONE, device="cpu").facts["iterations"] == 1
    assert parse(read_yaml(tmp_path / "config.yaml")) == tiny()


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_is_not_written_over_while_another_program_prepares_it(
    product, tiny, tmp_path, written_elsewhere, resume
):
    with (
        written_elsewhere(tmp_path / "run"),
        pytest.raises(ArtifactError, match="another program is writing"),
    ):
        train(read_dataset(product), tiny(), tmp_path / "run", ONE, device="cpu", resume=resume)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_the_threshold_that_cannot_be_kept_is_said_once_and_before_training(
    product, tiny, tmp_path, caplog
):
    caplog.set_level("INFO", "blemish")
    train(read_dataset(product), tiny(), tmp_path / "run", ONE, device="cpu")
    said = ["cannot promise" in message for message in caplog.messages]
    begun = ["iteration 1:" in message for message in caplog.messages]
    assert sum(said) == 1
    assert said.index(True) < begun.index(True)


def test_a_run_is_not_resumed_with_other_settings(run_folder, product, tiny):
    other = tiny(training={"seed": 1})
    with pytest.raises(ArtifactError, match="started with other settings"):
        train(read_dataset(product), other, run_folder, ONE, device="cpu", resume=True)


def test_a_run_is_not_resumed_where_good_photos_came_or_went(run_folder, product, tiny):
    dataset = read_dataset(product)
    some = dataset.train[1:]
    fewer = replace(dataset, records=some)
    with pytest.raises(ArtifactError, match="0 have come to the training split and 1 have left it"):
        train(fewer, tiny(), run_folder, ONE, device="cpu", resume=True)


def test_the_detector_knows_what_it_must_not_be_judged_by(run_folder, product):
    dataset = read_dataset(product)
    good = {file_sha256(record.image) for record in dataset.train}
    assert TrainedDetector.load(run_folder / "detector", device="cpu").known >= good


def test_resuming_a_finished_run_writes_the_same_detector(run_folder, product, tiny, tmp_path):
    copy = Path(shutil.copytree(run_folder, tmp_path / "run"))
    shutil.rmtree(copy / "detector")
    plan = Plan(iterations=10, validations=2)
    train(read_dataset(product), tiny(), copy, plan, device="cpu", resume=True)
    name = "detector/weights.safetensors"
    assert (copy / name).read_bytes() == (run_folder / name).read_bytes()
    assert (copy / "log.jsonl").read_bytes() == (run_folder / "log.jsonl").read_bytes()


def test_three_good_photos_are_too_few(tiny, tmp_path):
    for index in range(3):
        photo = np.full((64, 64, 3), index, np.uint8)
        write_sample(tmp_path / "data", "good", str(index), photo, split="train")
    with pytest.raises(DatasetError, match="has 3 good training photos, expected at least 4"):
        train(read_dataset(tmp_path / "data"), tiny(), tmp_path / "run", ONE, device="cpu")
    assert not (tmp_path / "run").exists()


def test_copies_of_one_photo_leave_nothing_to_hold_out(tiny, tmp_path):
    for index in range(8):
        photo = np.full((64, 64, 3), 90, np.uint8)
        write_sample(tmp_path / "data", "good", str(index), photo, split="train")
    with pytest.raises(DatasetError, match="copies"):
        train(read_dataset(tmp_path / "data"), tiny(), tmp_path / "run", ONE, device="cpu")


def test_photos_without_any_texture_can_be_trained_on(tiny, tmp_path):
    for index in range(8):
        photo = np.full((64, 64, 3), 80 + index, np.uint8)
        write_sample(tmp_path / "data", "good", str(index), photo, split="train")
    config = tiny(synthesis={"kind": "object"})
    found = train(read_dataset(tmp_path / "data"), config, tmp_path / "run", ONE, device="cpu")
    assert np.isfinite(found.threshold)
    assert (tmp_path / "run" / "detector" / "card.json").is_file()


def test_what_is_left_to_be_decided_is_decided_by_the_photos(product, tiny, tmp_path):
    config = tiny(synthesis={"kind": "auto", "monochrome": "auto"}, data={"turns": "auto"})
    found = train(read_dataset(product), config, tmp_path / "run", ONE, device="cpu").config
    assert found.synthesis.kind == "object"
    assert found.synthesis.monochrome is False
    assert "auto" not in found.data.turns
    assert parse(read_yaml(tmp_path / "run" / "config.yaml")) == config
    resumed = train(read_dataset(product), config, tmp_path / "run", ONE, device="cpu", resume=True)
    assert resumed.config == found


def trained_on_noise(folder: Path, config: InspectorConfig, shape: tuple[int, int]) -> Detector:
    for index in range(4):
        photo = np.random.default_rng(index).integers(0, 256, (*shape, 3), dtype=np.uint8)
        write_sample(folder / "data", "good", str(index), photo, split="train")
    train(read_dataset(folder / "data"), config, folder / "run", ONE, device="cpu")
    detector = Detector.load(folder / "run" / "detector", device="cpu")
    assert detector.predict(photo).map.shape == shape
    return detector


def test_tiles_of_a_larger_photo_can_be_trained_on(tiny, tmp_path):
    detector = trained_on_noise(tmp_path, tiny(data={"framing": "tiles"}), (80, 100))
    assert detector.view.framing == "tiles"


def test_long_photos_are_trained_on_in_strips_and_the_card_says_so(tiny, tmp_path):
    detector = trained_on_noise(tmp_path, tiny(data={"framing": "auto"}), (250, 80))
    assert detector.view.framing == detector.facts["framing"] == "strips"


def test_validation_judges_each_held_out_photo_as_it_is_and_with_a_drawn_defect(product, tiny):
    records, config = read_dataset(product).train, tiny()
    photos, held_out = (Photos(r, config) for r in (records[:8], records[8:]))
    task = InspectorTask(config, photos, held_out, "cpu")
    task.inspector.eval()
    assert [bool(square.mask.any()) for square in task.held_out] == 4 * [False, True]
    figures = task.validate()
    both = figures["image_auroc"] + figures["pixel_ap"]
    assert figures["objective"] == pytest.approx(both / 2)
    assert task.validate() == figures


def test_an_unpainted_map_of_held_out_photos_is_worth_its_prevalence(product, tiny, monkeypatch):
    records, config = read_dataset(product).train, tiny()
    photos, held_out = (Photos(r, config) for r in (records[:8], records[8:]))
    task = InspectorTask(config, photos, held_out, "cpu")
    cells, squares = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 64, 64)
    flat = Opinion(squares, cells, torch.zeros(1, 1, 16, 16), torch.zeros(1, 3, 64, 64))
    monkeypatch.setattr(task, "opinions", lambda squares, **_: [flat] * len(squares))
    figures = task.validate()
    prevalence = np.mean([square.mask for square in task.held_out])
    assert figures["image_auroc"] == 0.5
    assert figures["pixel_ap"] == pytest.approx(prevalence)


def test_the_segmenter_counts_for_nothing_on_most_good_pixels(product, tiny):
    records, config = read_dataset(product).train, tiny()
    photos, held_out = (Photos(r, config) for r in (records[:8], records[8:]))
    task = InspectorTask(config, photos, held_out, "cpu")
    state = task.settle(dict(task.inspector.named_parameters()))
    good = [square for square in task.held_out if not square.mask.any()]
    said = [opinion.learned[0, 0].numpy() for opinion in task.opinions(good)]
    pixels = np.concatenate([x[square.view.valid] for x, square in zip(said, good, strict=True)])
    assert np.mean(pixels < float(state["ceiling"])) == pytest.approx(0.95, abs=1e-3)
    assert float(state["trust"]) == 1
    reached = usual(task.opinions(good), [square.view.valid for square in good], 0.95)
    assert torch.equal(state["spread"], reached.spread)
    assert torch.equal(state["stain"], reached.stain)
    assert float(state["stain"]) < 1000, "two photos or more say what is usual"
