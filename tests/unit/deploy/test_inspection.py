from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blemish.data import read_image
from blemish.deploy.inspection import find_photos, inspect_files, write_overlay
from blemish.detection import TrainedDetector
from blemish.errors import DatasetError


@pytest.fixture
def photos(product: Path) -> list[Path]:
    return sorted((product / "test").rglob("*.png"))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_findings_are_the_verdicts_of_the_detector_in_order(detector, photos, batch_size):
    findings = list(inspect_files(detector, photos, batch_size=batch_size))
    assert [finding.path for finding in findings] == photos
    for finding in findings:
        expected = detector.predict(finding.path)
        assert finding.prediction.score == pytest.approx(expected.score, abs=1e-5)
        np.testing.assert_array_equal(finding.image, read_image(finding.path))


def test_a_file_that_cannot_be_read_keeps_its_place_between_the_others(detector, photos, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no photo")
    files = [tmp_path / "broken.png", photos[0], tmp_path / "missing.png", photos[1]]
    findings = list(inspect_files(detector, files, batch_size=3))
    assert [finding.path for finding in findings] == files
    assert [finding.error is None for finding in findings] == [False, True, False, True]
    assert "broken.png" in findings[0].line()["error"]


def test_a_photo_that_needs_too_many_squares_keeps_its_place_too(detector, photos, tmp_path):
    data = detector.config.data.model_copy(update={"framing": "tiles"})
    config = detector.config.model_copy(update={"data": data})
    weights = detector.inspector.state_dict()
    tiled = TrainedDetector(config, weights, detector.calibration, device="cpu", precision="fp32")
    Image.fromarray(np.zeros((1, 100_000, 3), np.uint8)).save(tmp_path / "strip.png")
    first, second = inspect_files(tiled, [tmp_path / "strip.png", photos[0]], batch_size=2)
    assert "needs 2083 squares" in first.line()["error"]
    assert second.prediction is not None


def test_findings_come_before_an_endless_stream_of_photos_ends(detector, photos):
    stream = inspect_files(detector, itertools.cycle(photos), batch_size=2)
    found = [finding.path for finding in itertools.islice(stream, 5)]
    assert found == [*photos, *photos][:5]
    stream.close()


def test_no_photos_give_no_findings(detector):
    assert list(inspect_files(detector, [])) == []


def test_photos_are_found_in_folders_at_any_depth_in_natural_order(tmp_path):
    for name in ("b/img10.png", "b/img9.JPG", "b/deep/x.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "named.dat").touch()
    found = find_photos([tmp_path / "named.dat", tmp_path / "b"])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names[0] == "named.dat"
    assert names.index("b/img9.JPG") < names.index("b/img10.png")
    assert set(names) == {"named.dat", "b/img9.JPG", "b/img10.png", "b/deep/x.tif"}


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_paths_without_photos_are_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=name):
        find_photos([tmp_path / name])


def test_hidden_photos_and_masks_are_passed_over_and_so_are_links_to_folders(tmp_path):
    for name in (
        "a.png",
        ".b.png",
        ".trash/c.png",
        "ground_truth/crack/d.png",
        "deep/ground_truth/e.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "again").symlink_to(".")
    assert find_photos([tmp_path]) == [tmp_path / "a.png"]


def test_masks_are_passed_over_where_a_reader_of_datasets_takes_them_for_masks(tmp_path):
    photos = ["crack/x.png", "crack/face_mask.png", "masks.png", "other/x.png"]
    masks = ["masks/crack/x.png", "Mask/y.png", "deep/MASKS/z.png", "crack/x_mask.png"]
    for name in (*photos, *masks, "crack/x.mask.gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {path.relative_to(tmp_path).as_posix() for path in find_photos([tmp_path])} == set(photos)
    named = tmp_path / "crack/x_mask.png"
    assert find_photos([named, tmp_path / "Mask"]) == [named, tmp_path / "Mask/y.png"]


def test_the_folder_of_earlier_heat_maps_is_left_out_however_it_is_named(tmp_path, monkeypatch):
    for name in ("maps/a.png", "deep/maps/b.png", "c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "deep")
    found = find_photos([tmp_path], without=Path("../maps"))
    assert found == [tmp_path / "c.png", tmp_path / "deep" / "maps" / "b.png"]


def test_a_folder_that_nobody_may_look_into_is_said_and_the_others_are_inspected(
    tmp_path, monkeypatch, restored_logger, caplog
):
    for name in ("a/1.png", "closed/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def guarded(path: str) -> Any:
        if "closed" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    restored_logger.propagate = True
    assert find_photos([tmp_path]) == [tmp_path / "a" / "1.png"]
    assert f"{tmp_path / 'closed'} is passed over: Permission denied" in caplog.text


def test_a_name_that_no_file_can_have_is_refused_with_a_hint(tmp_path):
    with pytest.raises(DatasetError, match="File name too long") as caught:
        find_photos([tmp_path / (300 * "n" + ".png")])
    assert caught.value.hint


def test_an_overlay_shows_the_photo_beside_its_heat_map(detector, photos, tmp_path):
    (finding,) = inspect_files(detector, photos[:1])
    target = write_overlay(tmp_path, finding, "first")
    assert target == tmp_path / "first.png"
    with Image.open(target) as picture:
        pair = np.asarray(picture)
    np.testing.assert_array_equal(pair[:, :64], finding.image)
    assert not np.array_equal(pair[:, 64:], finding.image)


def test_there_is_no_overlay_without_a_verdict(detector, tmp_path):
    (finding,) = inspect_files(detector, [tmp_path / "missing.png"])
    assert write_overlay(tmp_path, finding, "first") is None
    assert list(tmp_path.iterdir()) == []
