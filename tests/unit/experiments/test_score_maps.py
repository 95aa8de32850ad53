from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics as reference

from blemish.data import Dataset, read_dataset, read_mask, write_png, write_sample
from blemish.errors import ArtifactError, BlemishError, DatasetError, ImageError
from blemish.experiments.score_maps import map_path, scored_maps
from blemish.records import Record

SHAPE = (12, 20)


def mask() -> np.ndarray:
    found = np.zeros(SHAPE, np.bool_)
    found[3:8, 4:15] = True
    return found


def photo() -> np.ndarray:
    return np.zeros((*SHAPE, 3), np.uint8)


def mvtec(root: Path) -> Dataset:
    for index in range(3):
        write_sample(root, "good", f"{index}", photo(), split="test")
        write_sample(root, "dent", f"{index}", photo(), mask(), split="test")
    write_sample(root, "crack", "0", photo(), mask(), split="test")
    return read_dataset(root)


def plain(root: Path) -> Dataset:
    for index in range(10):
        write_png(root / "good" / f"{index}.png", photo())
    for label in ("dent", "crack"):
        write_png(root / label / "0.png", photo())
        write_png(root / "masks" / label / "0.png", mask().astype(np.uint8) * 255)
    return read_dataset(root)


def save_map(folder: Path, record: Record, values: np.ndarray) -> np.ndarray:
    path = map_path(folder, record)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return values


def noisy_maps(folder: Path, dataset: Dataset) -> list[np.ndarray]:
    """Return maps that are saved for every test photo, rounded to make ties."""
    rng = np.random.default_rng(0)
    lift = [0 if record.is_good else 0.3 * mask() for record in dataset.test]
    values = [np.round(rng.random(SHAPE) + more, 1).astype(np.float32) for more in lift]
    return [save_map(folder, *pair) for pair in zip(dataset.test, values, strict=True)]


def name_of(dataset: Dataset, record: Record) -> str:
    return record.image.relative_to(dataset.root).as_posix()


def write_scores(folder: Path, scores: dict[str, float]) -> None:
    lines = [json.dumps({"image": image, "score": score}) for image, score in scores.items()]
    (folder / "scores.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("layout", [mvtec, plain])
def test_figures_are_those_of_scikit_learn_in_any_layout(
    tmp_path: Path, layout: Callable[[Path], Dataset]
) -> None:
    dataset = layout(tmp_path / "data")
    maps = noisy_maps(tmp_path, dataset)
    found = scored_maps(dataset.test, tmp_path, dataset.root).figures()
    truth = [not record.is_good for record in dataset.test]
    drawn = [
        np.zeros(SHAPE, np.bool_) if record.mask is None else read_mask(record.mask)
        for record in dataset.test
    ]
    pixels, marked = np.concatenate(maps).ravel(), np.concatenate(drawn).ravel()
    peaks = [values.max() for values in maps]
    assert found["image_auroc"] == pytest.approx(reference.roc_auc_score(truth, peaks))
    assert found["image_ap"] == pytest.approx(reference.average_precision_score(truth, peaks))
    assert found["pixel_auroc"] == pytest.approx(reference.roc_auc_score(marked, pixels))
    assert found["pixel_ap"] == pytest.approx(reference.average_precision_score(marked, pixels))


def test_given_scores_take_the_place_of_the_maps_maxima(tmp_path: Path) -> None:
    dataset = mvtec(tmp_path / "data")
    noisy_maps(tmp_path, dataset)
    by_maxima = scored_maps(dataset.test, tmp_path, dataset.root)
    given = {name_of(dataset, record): float(n) for n, record in enumerate(dataset.test)}
    write_scores(tmp_path, given)
    found = scored_maps(dataset.test, tmp_path, dataset.root)
    for label, scores in found.images.items():
        labelled = [record for record in dataset.test if record.label == label]
        assert scores == [given[name_of(dataset, record)] for record in labelled]
    assert found.figures()["pixel_ap"] == by_maxima.figures()["pixel_ap"]


def test_some_of_the_photos_may_be_judged_alone(tmp_path: Path) -> None:
    dataset = mvtec(tmp_path / "data")
    noisy_maps(tmp_path, dataset)
    some = [record for record in dataset.test if record.label != "crack"]
    whole = scored_maps(dataset.test, tmp_path, dataset.root)
    assert scored_maps(some, tmp_path, dataset.root).figures() == whole.figures(["dent"])


def spoil_missing(path: Path) -> None:
    path.unlink()


def spoil_text(path: Path) -> None:
    path.write_text("0.5 0.7", encoding="utf-8")


def spoil_empty(path: Path) -> None:
    path.write_bytes(b"")


def spoil_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps([1.0, 2.0]))


def spoil_archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, map=np.zeros(SHAPE))


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_text, spoil_empty, spoil_pickle, spoil_archive])
def test_a_map_that_cannot_be_read_is_named(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    dataset = mvtec(tmp_path / "data")
    noisy_maps(tmp_path, dataset)
    path = map_path(tmp_path, dataset.test[-1])
    spoil(path)
    with pytest.raises(ArtifactError, match=r"cannot be read.*\n.*numpy\.save") as error:
        scored_maps(dataset.test, tmp_path, dataset.root)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (np.zeros((6, 10), np.float32), ArtifactError, r"shape \(12, 20\), got \(6, 10\)"),
        (np.full(SHAPE, np.nan, np.float32), ImageError, "NaN or infinity"),
    ],
)
def test_a_map_of_another_shape_or_without_numbers_is_named(
    tmp_path: Path, values: np.ndarray, kind: type[BlemishError], message: str
) -> None:
    dataset = mvtec(tmp_path / "data")
    noisy_maps(tmp_path, dataset)
    save_map(tmp_path, dataset.test[0], values)
    with pytest.raises(kind, match=message) as error:
        scored_maps(dataset.test, tmp_path, dataset.root)
    assert str(map_path(tmp_path, dataset.test[0])) in str(error.value)


def test_a_photo_without_a_score_is_named(tmp_path: Path) -> None:
    dataset = mvtec(tmp_path / "data")
    noisy_maps(tmp_path, dataset)
    names = [name_of(dataset, record) for record in dataset.test]
    write_scores(tmp_path, dict.fromkeys(names[:-1], 0.5))
    with pytest.raises(ArtifactError, match=f"has no score of {names[-1]}"):
        scored_maps(dataset.test, tmp_path, dataset.root)


@pytest.mark.parametrize("line", ["{", "[1]", '{"image": "a.png"}', '{"image": "a", "score": "high"}'])
def test_a_line_that_is_no_score_is_refused(tmp_path: Path, line: str) -> None:
    dataset = mvtec(tmp_path / "data")
    noisy_maps(tmp_path, dataset)
    (tmp_path / "scores.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="is not a list of scores"):
        scored_maps(dataset.test, tmp_path, dataset.root)


def test_a_defect_without_a_mask_is_refused(tmp_path: Path) -> None:
    mvtec(tmp_path / "data")
    dataset = read_dataset(tmp_path / "data", masks="none")
    noisy_maps(tmp_path, dataset)
    with pytest.raises(DatasetError, match="has no mask"):
        scored_maps(dataset.test, tmp_path, dataset.root)


def test_two_photos_of_one_map_are_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "test" / "good" / "0.png", photo())
    write_png(tmp_path / "test" / "good" / "0.bmp.png", photo())
    (tmp_path / "test" / "good" / "0.bmp.png").rename(tmp_path / "test" / "good" / "0.tiff")
    dataset = read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="share a label and a stem"):
        scored_maps(dataset.test, tmp_path, dataset.root)


def test_without_photos_there_is_nothing_to_score(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no test photos"):
        scored_maps([], tmp_path, tmp_path)
