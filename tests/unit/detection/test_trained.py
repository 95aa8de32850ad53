from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blemish.artifacts import CARD, WEIGHTS, load_artifact, save_artifact
from blemish.data import as_tiled
from blemish.detection import TrainedDetector
from blemish.detection.inspector import Inspector
from blemish.errors import ArtifactError, BlemishError, ImageError
from blemish.synthesis import draw_good
from blemish.verdicts import Calibration, Detector


def nut(index: int, size: int = 64) -> np.ndarray:
    return draw_good("nut", size, np.random.default_rng(index))


def load(folder: Path) -> Detector:
    return Detector.load(folder, device="cpu", precision="fp32")


@pytest.fixture
def folder(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the saved detector, to be spoilt."""
    return Path(shutil.copytree(run_folder / "detector", tmp_path / "detector"))


def test_a_saved_and_loaded_detector_gives_the_same_verdict_bit_for_bit(detector, tmp_path):
    detector.save(tmp_path / "copy")
    before, after = detector.predict(nut(0)), load(tmp_path / "copy").predict(nut(0))
    assert after.summary() == before.summary()
    np.testing.assert_array_equal(after.map, before.map)
    np.testing.assert_array_equal(after.reconstruction, before.reconstruction)


def test_a_detector_computes_in_the_format_that_its_threshold_was_set_in(run_folder, tmp_path, caplog):
    Detector.load(run_folder / "detector", device="cpu", precision="bf16").save(tmp_path / "bf16")
    caplog.clear()
    assert Detector.load(tmp_path / "bf16", device="cpu").precision == "bf16"
    assert Detector.load(run_folder / "detector", device="cpu").precision == "fp32"
    assert not caplog.records
    assert Detector.load(tmp_path / "bf16", device="cpu", precision="fp32").precision == "fp32"
    assert "the threshold was set in bf16" in caplog.text


def test_a_detector_remembers_how_it_came_about(detector, tmp_path):
    detector.save(tmp_path / "copy")
    copy = load(tmp_path / "copy")
    assert copy.config == detector.config
    assert copy.facts == detector.facts
    assert copy.facts["iterations"] == 10
    assert copy.facts["good_photos"] + copy.facts["held_out_photos"] == 12


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 97), (200, 120), (1, 1), (3, 500)])
def test_maps_and_reconstructions_have_the_photos_own_resolution(detector, height, width):
    photo = np.array(Image.fromarray(nut(0)).resize((width, height)))
    verdict = detector.predict(photo)
    assert verdict.map.shape == (height, width)
    assert verdict.map.dtype == np.float32
    assert verdict.reconstruction.shape == (height, width, 3)
    assert 0 <= verdict.map.min() <= verdict.map.max() <= 1


def test_a_file_and_its_pixels_get_the_same_verdict(detector, tmp_path):
    Image.fromarray(nut(1)).save(tmp_path / "nut.png")
    by_name = detector.predict(str(tmp_path / "nut.png"))
    np.testing.assert_array_equal(by_name.map, detector.predict(nut(1)).map)


def test_the_same_photo_always_gets_the_same_score(detector):
    first = detector.predict(nut(2)).score
    detector.predict(nut(3))
    assert detector.predict(nut(2)).score == first


def test_the_score_is_raw_and_calibration_changes_only_the_threshold(detector):
    strict, loose = (detector.with_false_alarm_rate(rate) for rate in (0.25, 0.75))
    verdicts = [other.predict(nut(0)) for other in (detector, strict, loose)]
    assert len({verdict.score for verdict in verdicts}) == 1
    assert len({verdict.p_value for verdict in verdicts}) == 1
    assert loose.threshold < strict.threshold
    scores = detector.calibration.scores
    assert strict.threshold == np.nextafter(scores[-1], np.inf)


def test_a_photo_is_anomalous_from_the_threshold_on(detector):
    score = detector.predict(nut(0)).score
    weights = detector.inspector.state_dict()
    for held_out, anomalous in [(np.nextafter(score, 0), True), (score, False)]:
        other = TrainedDetector(
            detector.config, weights, Calibration.of([held_out], 0.5), device="cpu", precision="fp32"
        )
        assert other.predict(nut(0)).anomalous is anomalous


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_size_of_the_batch_does_not_change_the_verdicts(detector, batch_size):
    photos = [nut(index) for index in range(5)]
    alone = [detector.predict(photo) for photo in photos]
    together = list(detector.predict_many(photos, batch_size=batch_size))
    for one, other in zip(alone, together, strict=True):
        assert other.score == pytest.approx(one.score, abs=1e-5)
        np.testing.assert_allclose(other.map, one.map, atol=1e-5)


def test_in_bfloat16_scores_stay_close_to_those_in_float32(detector, run_folder):
    fast = Detector.load(run_folder / "detector", device="cpu", precision="bf16")
    photos = [nut(index) for index in range(4)]
    exact, found = (list(d.predict_many(photos)) for d in (detector, fast))
    # Eight bits of mantissa: enough for the picture, not for comparing scores across formats.
    assert [v.score for v in found] == pytest.approx([v.score for v in exact], abs=0.1)
    for one, other in zip(exact, found, strict=True):
        assert np.corrcoef(one.map.ravel(), other.map.ravel())[0, 1] > 0.95


def test_in_bfloat16_a_verdict_is_that_of_the_networks_under_autocast(run_folder):
    fast = Detector.load(run_folder / "detector", device="cpu", precision="bf16")
    squares = np.stack([nut(index) for index in range(2)])
    maps, pictures = fast.look(squares)
    photo = torch.from_numpy(squares)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits, normal = fast.inspector(photo, fast.field(photo))
    np.testing.assert_array_equal(maps, logits.float().sigmoid()[:, 0].numpy())
    np.testing.assert_array_equal(pictures, normal.float().permute(0, 2, 3, 1).numpy())
    weights = fast.inspector.state_dict().values()
    assert all(value.dtype != torch.bfloat16 for value in weights), "what is saved is not rounded"


def test_verdicts_come_in_the_order_of_the_photos_whatever_their_sizes(detector):
    photos = [nut(0, size) for size in (64, 100, 80, 64, 128)]
    found = list(detector.predict_many(photos, batch_size=2))
    assert [verdict.map.shape[0] for verdict in found] == [64, 100, 80, 64, 128]


def test_reconstructions_are_left_out_when_nobody_asks(detector):
    (verdict,) = detector.predict_many([nut(0)], reconstruct=False)
    assert verdict.reconstruction is None


def tiled(detector: TrainedDetector, framing: str = "tiles") -> TrainedDetector:
    data = detector.config.data.model_copy(update={"framing": framing})
    config = detector.config.model_copy(update={"data": data})
    weights = detector.inspector.state_dict()
    return TrainedDetector(config, weights, detector.calibration, device="cpu", precision="fp32")


def test_a_photo_of_the_networks_size_is_one_tile(detector):
    whole, tiles = detector.predict(nut(0)), tiled(detector).predict(nut(0))
    assert tiles.score == pytest.approx(whole.score, abs=1e-6)
    np.testing.assert_allclose(tiles.map, whole.map, atol=1e-6)
    np.testing.assert_array_equal(tiles.reconstruction, whole.reconstruction)


def test_a_strip_is_judged_as_the_tiles_of_the_shrunk_photo_are(detector):
    photo = np.array(Image.fromarray(nut(0, 150)).resize((130, 400)))
    verdict = tiled(detector, "strips").predict(photo)
    shrunk = tiled(detector).predict(as_tiled(photo, "strips", 64))
    assert verdict.score == shrunk.score
    assert verdict.map.shape == (400, 130)
    assert verdict.reconstruction.shape == photo.shape
    tall = np.asarray(Image.fromarray(shrunk.map).resize((130, 400), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(verdict.map, tall, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(64, 150), (130, 100), (20, 30)])
def test_tiles_cover_photos_of_any_size_in_one_map(detector, height, width):
    photo = np.array(Image.fromarray(nut(0, 150)).resize((width, height)))
    one_by_one = list(tiled(detector).predict_many([photo, photo], batch_size=1))
    (first, second) = tiled(detector).predict_many([photo, photo], batch_size=16)
    assert first.map.shape == (height, width)
    assert first.reconstruction.shape == (height, width, 3)
    np.testing.assert_allclose(first.map, second.map, atol=1e-6)
    np.testing.assert_allclose(first.map, one_by_one[0].map, atol=1e-5)


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
        np.zeros((0, 64, 3), np.uint8),
    ],
    ids=["grey", "rgba", "float", "empty"],
)
def test_arrays_that_are_no_photo_are_refused(detector, photo):
    with pytest.raises(ImageError, match="expected a photo as uint8"):
        detector.predict(photo)


def test_changed_weights_are_refused(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactError, match="is missing or is not the file"):
        load(folder)


def change_card(folder: Path, change) -> None:
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    change(card)
    (folder / CARD).write_text(json.dumps(card), encoding="utf-8")


def test_a_newer_schema_is_refused_with_the_way_out(folder):
    change_card(folder, lambda card: card.update(schema=99))
    with pytest.raises(ArtifactError, match="pip install --upgrade blemish"):
        load(folder)


def test_a_detector_saved_before_there_was_a_trust_counts_what_it_learned_once(folder, detector):
    tensors, card = load_artifact(folder)
    del tensors["trust"]
    save_artifact(folder, tensors, card)
    old = load(folder)
    assert old.predict(nut(0)).score == detector.predict(nut(0)).score
    assert float(old.inspector.trust) == 1


def test_in_a_detector_saved_before_there_were_stains_no_colour_is_one(folder):
    tensors, card = load_artifact(folder)
    del tensors["spread"], tensors["stain"]
    save_artifact(folder, tensors, card)
    old = load(folder)
    assert old.inspector.spread.tolist() == [1, 1]
    assert float(old.inspector.stain) > 1000


def test_an_artifact_of_another_kind_is_refused(tmp_path):
    save_artifact(tmp_path / "other", {"x": torch.zeros(1)}, {"kind": "embedding"})
    with pytest.raises(ArtifactError, match="holds a embedding, expected an inspector"):
        load(tmp_path / "other")


def test_a_detector_with_the_memory_of_an_earlier_version_is_refused_by_name(folder):
    tensors, card = load_artifact(folder)
    save_artifact(folder, tensors | {"memory.memories.0.bank": torch.zeros(1, 1)}, card)
    with pytest.raises(ArtifactError, match="trained by an earlier version") as refused:
        load(folder)
    assert refused.value.hint == "train it again"


def test_trouble_with_the_device_is_not_called_a_damaged_card(folder, monkeypatch):
    def fails(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Inspector, "to", fails)
    with pytest.raises(torch.OutOfMemoryError):
        load(folder)


@pytest.mark.parametrize("missing", ["calibration", "config", "facts"])
def test_a_card_with_a_part_missing_is_refused(folder, missing):
    change_card(folder, lambda card: card.pop(missing))
    with pytest.raises(ArtifactError, match=missing):
        load(folder)


def test_weights_of_another_shape_are_refused(folder):
    tensors, card = load_artifact(folder)
    card["config"]["segmenter"]["width"] = 24
    save_artifact(folder, tensors, card)
    with pytest.raises(ArtifactError, match="does not fit its own card"):
        load(folder)


def test_a_setting_that_this_version_does_not_know_is_refused(folder):
    change_card(folder, lambda card: card["config"]["data"].update(zoom=2))
    with pytest.raises(BlemishError, match=r"data\.zoom: there is no such setting"):
        load(folder)
