from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference

from blemish.errors import ImageError
from blemish.metrics import PixelScores


def images(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    drawn = []
    for height, width in ((20, 30), (33, 17), (8, 8)):
        mask = rng.random((height, width)) < 0.1
        scores = (rng.random((height, width)) + 0.4 * mask).round(2).astype(np.float32)
        drawn.append((scores, mask))
    drawn.append((rng.random((12, 12)).astype(np.float32), np.zeros((12, 12), dtype=bool)))
    return drawn


def test_images_of_any_size_are_pooled_as_scikit_learn_would() -> None:
    drawn = images(np.random.default_rng(0))
    pixels = PixelScores()
    for scores, mask in drawn:
        pixels.add(scores, mask)
    scores = np.concatenate([image.ravel() for image, _ in drawn])
    labels = np.concatenate([mask.ravel() for _, mask in drawn])
    best = pixels.f1_max()
    assert pixels.auroc() == pytest.approx(reference.roc_auc_score(labels, scores))
    assert pixels.average_precision() == pytest.approx(
        reference.average_precision_score(labels, scores)
    )
    assert best.value == pytest.approx(reference.f1_score(labels, scores >= np.float32(best.threshold)))


def test_the_order_of_images_changes_nothing() -> None:
    drawn = images(np.random.default_rng(1))
    forth, back = PixelScores(), PixelScores()
    for image in drawn:
        forth.add(*image)
    for image in reversed(drawn):
        back.add(*image)
    assert forth.auroc() == back.auroc()
    assert forth.average_precision() == pytest.approx(back.average_precision())
    assert forth.pro() == pytest.approx(back.pro())


def test_images_can_be_added_after_an_evaluation() -> None:
    drawn = images(np.random.default_rng(2))
    late, whole = PixelScores(), PixelScores()
    for number, image in enumerate(drawn):
        whole.add(*image)
        late.add(*image)
        if number == 1:
            late.auroc()
    assert late.auroc() == whole.auroc()
    assert late.pro() == whole.pro()


def test_invalid_pixels_count_nowhere() -> None:
    (scores, mask), *_ = images(np.random.default_rng(3))
    padded = np.pad(scores, 3, constant_values=9)
    truth = np.pad(mask, 3, constant_values=False)
    truth[0] = True
    cropped, whole = PixelScores(), PixelScores()
    cropped.add(scores, mask)
    whole.add(padded, truth, np.pad(np.ones_like(mask), 3, constant_values=False))
    assert whole.auroc() == cropped.auroc()
    assert whole.average_precision() == cropped.average_precision()
    assert whole.pro() == cropped.pro()


@pytest.mark.parametrize("mask", [np.zeros((4, 4), bool), np.ones((4, 4), bool)])
def test_with_one_class_only_every_pixel_metric_is_undefined(mask: np.ndarray) -> None:
    pixels = PixelScores()
    pixels.add(np.eye(4), mask)
    assert math.isnan(pixels.auroc())
    assert math.isnan(pixels.average_precision())
    assert math.isnan(pixels.f1_max().value)
    assert math.isnan(pixels.pro())
    assert pixels.pro_curve().x.size == 0


def test_before_the_first_image_every_metric_is_undefined() -> None:
    pixels = PixelScores()
    assert math.isnan(pixels.auroc())
    assert math.isnan(pixels.pro())


@pytest.mark.parametrize(
    ("scores", "mask", "valid", "says"),
    [
        (np.zeros((4, 5)), np.zeros((5, 4), bool), None, "one shape"),
        (np.zeros(4), np.zeros(4, bool), None, "one shape"),
        (np.zeros((4, 4)), np.zeros((4, 4), np.uint8), None, "type bool"),
        (np.full((4, 4), np.nan), np.zeros((4, 4), bool), None, "finite"),
        (np.zeros((4, 4)), np.zeros((4, 4), bool), np.ones((2, 2), bool), "valid pixels"),
    ],
)
def test_a_map_and_a_mask_that_do_not_belong_together_are_refused(
    scores: np.ndarray, mask: np.ndarray, valid: np.ndarray | None, says: str
) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        PixelScores().add(scores, mask, valid)
    assert caught.value.hint
