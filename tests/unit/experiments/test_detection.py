from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from blemish.data import Dataset, letterbox, read_dataset, read_sample, write_sample
from blemish.data.framing import frame
from blemish.detection import Length
from blemish.experiments import detection, evaluate
from blemish.experiments.detection import SIDE, DetectorCell, _shrunk, best_on_test, inspected
from blemish.experiments.downstream import SCORES, read_scores
from blemish.experiments.grid import run_grid
from blemish.records import Prediction
from blemish.verdicts import Detector


class Red:
    """A stand-in for a detector: the map of a photo is its red channel, the score the map's maximum."""

    threshold = 0.5

    def predict_many(
        self, photos: Sequence[np.ndarray], *, batch_size: int, reconstruct: bool
    ) -> Iterator[Prediction]:
        assert not reconstruct
        assert len(photos) <= batch_size
        for photo in photos:
            values = (photo[..., 0] / 255).astype(np.float32)
            yield Prediction(float(values.max()), self.threshold, 0.5, values)


def photo(shape: tuple[int, int], lit: np.ndarray | None = None, level: int = 20) -> np.ndarray:
    values = np.full((*shape, 3), level, np.uint8)
    if lit is not None:
        values[lit] = 255
    return values


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


SHAPES = [(37, 101), (301, 77), (701, 513), (256, 256), (33, 33)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_blob_stays_where_it_is_and_map_and_mask_still_meet(shape, tmp_path):
    """Centres are in pixels of the square: the photo's, times the scale, from the padding's edge."""
    centre = (0.3 * shape[0], 0.7 * shape[1])
    lit = disc(shape, centre, 0.15 * min(shape))
    record = write_sample(tmp_path, "dent", "0", photo(shape, lit), lit)
    maps = inspected(Red(), [record]).maps
    (values,), (mask,), (valid,) = maps.maps, maps.masks, maps.valid
    assert values.shape == mask.shape == valid.shape == (SIDE, SIDE)
    where = frame(*shape, SIDE)
    middle = np.array(ndimage.center_of_mass(lit)) + 0.5
    scales = np.array([where.inner_height / shape[0], where.inner_width / shape[1]])
    expected = middle * scales + (where.top, where.left) - 0.5
    bright = values * (values > 0.5)
    np.testing.assert_allclose(ndimage.center_of_mass(bright), expected, atol=0.5)
    np.testing.assert_allclose(ndimage.center_of_mass(mask), expected, atol=0.5)
    overlap = (mask & (values > 0.5)).sum() / (mask | (values > 0.5)).sum()
    assert overlap > 0.85
    assert not values[~valid].any()
    assert values[valid].min() > 0


def test_a_shrunken_map_is_one_where_it_was_one_and_nothing_on_the_padding():
    where = letterbox(np.zeros((45, 101), np.bool_), 64)[1]
    found = _shrunk(np.ones((45, 101), np.float32), where)
    np.testing.assert_array_equal(found, where.valid().astype(np.float32))


@pytest.fixture
def seen(tmp_path: Path) -> Dataset:
    """Ten test photos of several sizes: five good, one of them alarming; three dents; two undrawn."""
    shape = (20, 31)
    for index in range(4):
        write_sample(tmp_path, "good", f"{index}", photo((20 + index, 31), level=20 + index))
    write_sample(tmp_path, "good", "4", photo(shape, disc(shape, (5, 5), 2)))
    for index in range(3):
        lit = disc(shape, (10, 9 + index), 4)
        write_sample(tmp_path, "dent", f"{index}", photo(shape, lit), lit)
    for index in range(2):
        write_sample(tmp_path, "smear", f"{index}", photo(shape, disc(shape, (9, 9), 3)))
    return read_dataset(tmp_path)


def test_records_scores_and_alarms_come_in_the_order_given(seen):
    records = seen.test[::-1]
    scored, maps, alarms, _ = inspected(Red(), records)
    assert list(maps.records) == list(records)
    lit = [record.label != "good" or record.image.stem == "4" for record in records]
    assert (maps.scores == 1).tolist() == lit
    assert alarms == pytest.approx(1 / 5)
    assert {label: len(scores) for label, scores in scored.images.items()} == {
        "good": 5,
        "dent": 3,
        "smear": 2,
    }
    assert scored.figures(["dent"])["pixel_auroc"] > 0.99


def test_only_the_time_that_the_detector_takes_is_counted(seen, monkeypatch):
    clock = [0.0]

    class Slow(Red):
        def predict_many(self, photos, **how):
            for prediction in super().predict_many(photos, **how):
                clock[0] += 2
                yield prediction

    def read(record):
        clock[0] += 100
        return read_sample(record)

    monkeypatch.setattr("blemish.experiments.evaluation.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("blemish.experiments.evaluation.read_sample", read)
    assert inspected(Slow(), seen.test).seconds == 2 * len(seen.test)


def test_the_pixels_of_a_defect_that_nobody_drew_count_nowhere(seen):
    scored, maps, *_ = inspected(Red(), seen.test)
    counted = {label: [] for label in ("good", "dent", "smear")}
    for record, valid in zip(maps.records, maps.valid, strict=True):
        counted[record.label].append(bool(valid.any()))
    assert counted == {"good": [True] * 5, "dent": [True] * 3, "smear": [False] * 2}
    assert "smear" not in scored.pixels


def test_without_good_photos_there_is_no_rate_of_alarms(seen):
    assert inspected(Red(), [r for r in seen.test if not r.is_good]).alarms is None


def cell(dataset: Dataset, tiny, **changes: object) -> DetectorCell:
    given = DetectorCell("nut/detection/ours/seed0", dataset, dataset.test, tiny(), Length(epochs=1))
    return replace(given, **changes)


def test_a_cell_judges_as_evaluate_does_and_leaves_what_its_intervals_are_made_of(
    product, tiny, tmp_path
):
    dataset = read_dataset(product)
    settings = tiny(training={"normals": 2, "defects": 2, "validations": 1})
    made = cell(dataset, tiny, config=settings)
    (result,) = run_grid([made], tmp_path, ["cpu"])
    folder = tmp_path / made.name
    detector = Detector.load(folder / "run" / "detector", device="cpu", precision="fp32")
    figures, _ = evaluate(detector, dataset)
    costs = result["costs"]
    assert costs["train_minutes"] > result["detector"]["training_seconds"] / 60
    assert costs["photos_per_second"] > 0
    assert costs["memory_mib"] > 100  # torch alone takes more
    assert result["figures"] == pytest.approx(figures["metrics"])
    assert result["per_type"] == {"scratch": pytest.approx(figures["per_type"]["scratch"])}
    assert result["false_alarm_rate"] == figures["false_alarm_rate"]
    assert result["detector"]["iterations"] == 12 // 4
    scores = read_scores(folder / SCORES)
    assert scores.labels == ["good"] * 3 + ["scratch"] * 3
    # The toy photos are smaller than the squares: enlarging moves the figure a little.
    ap = scores.counts.average_precision()
    assert ap == pytest.approx(result["figures"]["pixel_ap"], abs=0.1)


@pytest.mark.parametrize(("before", "seconds"), [(None, 40), (600.5, 640.5)])
def test_training_counts_from_the_first_photo_to_the_threshold_and_what_a_killed_run_trained(
    product, tiny, tmp_path, monkeypatch, before, seconds
):
    clock = [7.0]

    def train(*_: object, **__: object) -> str:
        clock[0] += 40
        return "detector"

    monkeypatch.setattr(detection, "train", train)
    monkeypatch.setattr(detection.time, "monotonic", lambda: clock[0])
    if before is not None:
        (tmp_path / "progress.json").write_text(json.dumps({"elapsed": before}))
    assert cell(read_dataset(product), tiny)._trained(tmp_path, "cpu") == ("detector", seconds, [])


def test_under_the_papers_protocol_the_weights_that_do_best_on_the_test_photos_are_told_beside(
    product, tiny, tmp_path
):
    dataset = read_dataset(product)
    settings = tiny(training={"normals": 2, "defects": 2, "validations": 3, "ema": 0.0})
    plain = cell(dataset, tiny, name="a/b/c/plain", config=settings)
    told = replace(plain, name="a/b/c/told", paper_protocol=True)
    assert "paper_protocol" not in plain.identity()
    assert told.identity() == {**plain.identity(), "paper_protocol": True}
    expected, result = run_grid([plain, told], tmp_path, ["cpu"])
    assert result["figures"] == expected["figures"]
    assert "test_selected" not in expected
    best = result["test_selected"]
    assert best["iteration"] in (1, 2, 3)
    assert best["image_auroc"] >= result["figures"]["image_auroc"]
    assert set(best) == {*result["figures"], "iteration"}
    assert not (tmp_path / told.name / "run" / "snapshots").exists()


def test_a_cell_killed_before_its_result_still_finds_the_weights_of_every_validation(
    product, tiny, tmp_path
):
    settings = tiny(training={"normals": 2, "defects": 2, "validations": 3})
    made = cell(read_dataset(product), tiny, config=settings, paper_protocol=True)
    first = made(tmp_path, "cpu")
    again = made(tmp_path, "cpu")
    assert again["test_selected"] == first["test_selected"]


@pytest.mark.parametrize(
    ("watched", "kept"),
    [
        ([(0.9, 0.5), (0.8, 0.9), (0.85, 0.9)], 0),  # a larger sum alone is not enough
        ([(0.8, 0.9), (0.9, 0.5), (0.9, 0.9)], 2),  # nor a better image figure
        ([(0.8, 0.8), (0.8, 0.8)], 1),  # of equals the last
        ([(None, 0.5), (0.1, 0.5), (0.1, None)], 1),
    ],
)
def test_weights_are_kept_on_the_test_photos_as_by_the_papers_code(watched, kept):
    figures = [{"image_auroc": image, "pixel_auroc": pixel} for image, pixel in watched]
    assert best_on_test(figures) is figures[kept]


def test_a_cell_that_was_killed_after_training_began_goes_on_with_its_run(
    product, tiny, tmp_path, monkeypatch
):
    resumed = []

    class StopError(Exception):
        pass

    def train(*_: object, resume: bool, **__: object) -> None:
        resumed.append(resume)
        raise StopError

    monkeypatch.setattr(detection, "train", train)
    made = cell(read_dataset(product), tiny)
    for _ in range(2):
        with pytest.raises(StopError):
            made(tmp_path, "cpu")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "split.json").write_text("{}")
    with pytest.raises(StopError):
        made(tmp_path, "cpu")
    assert resumed == [False, False, True]


def test_defects_are_learned_from_only_where_they_are_given(dataset, tiny, tmp_path, monkeypatch):
    asked = []

    class StopError(Exception):
        pass

    def train(goods, config, _, plan, *, examples, **__):
        asked.append((goods, config, plan, examples))
        raise StopError

    monkeypatch.setattr(detection, "train", train)
    shown = tuple(replace(record, split="train") for record in dataset.defects[:2])
    with_defects = replace(dataset, records=(*dataset.train, *shown, *dataset.defects[2:]))
    bare = cell(with_defects, tiny, length=Length(seconds=9.0))
    for made in (bare, replace(bare, examples=shown)):
        with pytest.raises(StopError):
            made(tmp_path, "cpu")
    (goods, config, plan, examples), (same_goods, given_config, _, given) = asked
    assert goods.records == same_goods.records == dataset.train
    assert (examples, given) == ((), shown)
    assert (config.synthesis.examples_share, given_config.synthesis.examples_share) == (0.0, 0.75)
    assert (plan.seconds, plan.iterations) == (9.0, None)


def test_an_identity_tells_settings_length_and_photos_apart(product, tiny):
    dataset = read_dataset(product)
    first = cell(dataset, tiny)
    defect = replace(dataset.test[-1], split="train")
    others = [
        cell(dataset, tiny, length=Length(epochs=2)),
        cell(dataset, tiny, length=Length(seconds=10.0)),
        cell(dataset, tiny, config=tiny(training={"seed": 1})),
        cell(dataset, tiny, test=dataset.test[1:]),
        cell(replace(dataset, records=dataset.train[1:]), tiny, test=dataset.test),
        cell(dataset, tiny, examples=(defect,)),
        cell(dataset, tiny, examples=(defect,), config=tiny(synthesis={"examples_share": 0.9})),
    ]
    found = [json.dumps(made.identity(), sort_keys=True) for made in (first, *others)]
    assert len(set(found)) == len(found)
    unused = cell(dataset, tiny, name="elsewhere", config=tiny(synthesis={"examples_share": 0.9}))
    assert unused.identity() == first.identity()
    assert pickle.loads(pickle.dumps(first)).identity() == first.identity()  # noqa: S301 - our own
