from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from blemish.config import parse, read_yaml
from blemish.data import read_dataset, read_split
from blemish.detection.examples import divided
from blemish.detection.run_folder import prepare_folder, refuse_start
from blemish.errors import ArtifactError, DatasetError

BEGUN = ["checkpoint.safetensors", "log.jsonl", "detector"]


@pytest.fixture
def prepare(product, tiny, tmp_path):
    """Prepare a run's folder: `prepare(dataset, {"seed": 1}, resume=True)`."""

    def run(dataset=None, training=None, families=None, joins=False, resume=False, **sections):
        dataset = dataset or read_dataset(product)
        kin = dict(zip(dataset.train, families or range(len(dataset.train)), strict=True))
        config = tiny(training=training or {}, **sections)
        folder = tmp_path / "run"
        return prepare_folder(dataset, config, folder, kin, (), resume=resume, joins=joins)

    return run


@pytest.mark.parametrize("resume", [False, True])
def test_a_start_that_came_to_nothing_does_not_take_the_folder(prepare, product, tmp_path, resume):
    prepare()
    refuse_start(read_dataset(product), tmp_path / "run", resume=resume)
    split = prepare(training={"seed": 5}, resume=resume)
    assert parse(read_yaml(tmp_path / "run" / "config.yaml")).training.seed == 5
    assert read_split(tmp_path / "run" / "split.json", product) == split


@pytest.mark.parametrize("name", BEGUN)
def test_a_folder_in_which_something_was_learned_is_left_alone(prepare, product, tmp_path, name):
    before = prepare()
    (tmp_path / "run" / name).mkdir()
    with pytest.raises(ArtifactError, match="holds a run already"):
        refuse_start(read_dataset(product), tmp_path / "run", resume=False)
    refuse_start(read_dataset(product), tmp_path / "run", resume=True)
    assert prepare(resume=True) == before
    with pytest.raises(ArtifactError, match="other settings"):
        prepare(training={"seed": 5}, resume=True)


def test_another_process_of_a_run_takes_what_the_first_has_written(prepare):
    assert prepare() == prepare(joins=True)
    with pytest.raises(ArtifactError, match="other settings"):
        prepare(training={"seed": 5}, joins=True)


def test_a_run_among_the_photos_or_on_three_of_them_is_refused_before_any_is_read(product, tmp_path):
    dataset = read_dataset(product)
    with pytest.raises(DatasetError, match="lies among the photos"):
        refuse_start(dataset, product / "train" / "run", resume=False)
    gone = [replace(record, image=tmp_path / record.image.name) for record in dataset.train[:4]]
    refuse_start(replace(dataset, records=tuple(gone)), tmp_path / "run", resume=False)
    for resume in (False, True):
        with pytest.raises(DatasetError, match="has 3 good training photos"):
            refuse_start(replace(dataset, records=tuple(gone[:3])), tmp_path / "run", resume=resume)
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_has_the_datasets_own_records_which_know_what_they_were_made_of(
    prepare, product, tmp_path
):
    root = shutil.copytree(product, tmp_path / "data")
    lines = [
        {"image": f"train/good/{index:03d}.png", "source_sha256": "ab" * 32}
        | {"parameters": {"exemplars": ["cd" * 32]}}
        for index in range(12)
    ]
    (root / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dataset = read_dataset(root)
    fresh = prepare(dataset)
    (tmp_path / "run" / "log.jsonl").touch()
    resumed = prepare(dataset, resume=True)
    assert resumed == fresh
    assert {record.source for record in resumed.train + resumed.validation} == {"ab" * 32}
    kin = dict.fromkeys(dataset.train, 0)
    assert divided((), resumed, kin, 0) == ([], [])


def test_a_run_on_linked_photos_is_resumed(prepare, product, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "good").symlink_to(product / "train" / "good")
    fresh = prepare(read_dataset(tmp_path / "data"))
    (tmp_path / "run" / "log.jsonl").touch()
    assert prepare(read_dataset(tmp_path / "data"), resume=True) == fresh


def test_what_the_held_out_photos_cannot_promise_is_said_before_training(prepare, tmp_path, caplog):
    prepare()
    (said,) = caplog.messages
    assert said == (
        "3 held-out good photos cannot promise a false-alarm rate of 5.0%, only 25.0%: it takes at "
        "least 19; as a quarter is held out, train on 76 good photos of as many parts"
    )
    (tmp_path / "run" / "log.jsonl").touch()
    prepare(resume=True)
    assert caplog.messages == [said, said]
    prepare(joins=True)
    assert len(caplog.messages) == 2, "one process says it for all"


def test_the_fewest_parts_that_are_held_out_are_named_where_they_are_too_few(prepare, caplog):
    prepare(calibration={"false_alarm_rate": 0.01})
    assert caplog.messages[0].endswith(
        "396 good photos of as many parts, with data.holdout_at_least=99"
    )


def test_parts_are_counted_and_not_photos_where_enough_are_held_out_nothing_is_said(prepare, caplog):
    rate = {"false_alarm_rate": 0.25}
    prepare(calibration=rate)
    assert caplog.messages == []
    prepare(calibration=rate, families=[index // 3 for index in range(12)])
    assert "3 held-out good photos of 1 parts cannot promise" in caplog.text
