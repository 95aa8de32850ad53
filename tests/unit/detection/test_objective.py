from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from blemish.detection.objective import (
    clean_loss,
    feature_loss,
    focal_loss,
    mask_loss,
    masked_mean,
    noise_loss,
)

EVERYWHERE = torch.ones(2, 1, 2, 2)
BOTH = torch.tensor([True, True])
NEITHER = torch.tensor([False, False])


def squares(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, 2, 2, generator=torch.Generator().manual_seed(seed))


def left_half() -> torch.Tensor:
    valid = torch.zeros(2, 1, 2, 2)
    valid[..., 0] = 1
    return valid


def test_the_mean_is_taken_over_valid_pixels_of_all_channels():
    values = torch.tensor([[[[1.0, 100.0]], [[3.0, 100.0]]]])
    assert masked_mean(values, torch.tensor([[[[1.0, 0.0]]]])).tolist() == [2.0]


def test_the_mean_over_no_valid_pixel_is_zero():
    assert masked_mean(squares(0), torch.zeros(2, 1, 2, 2)).tolist() == [0, 0]


def test_the_noise_loss_of_a_hand_computed_batch():
    predicted = torch.zeros(2, 3, 2, 2)
    noise = torch.full((2, 3, 2, 2), 2.0)
    noise[1] = 4.0
    assert float(noise_loss(predicted, noise, BOTH, EVERYWHERE)) == (4 + 16) / 2


def test_the_noise_loss_ignores_images_with_a_defect():
    predicted, noise = squares(0), squares(1)
    only_first = noise_loss(predicted, noise, torch.tensor([True, False]), EVERYWHERE)
    assert float(only_first) == pytest.approx(float((predicted[0] - noise[0]).square().mean()))
    predicted[1] += 100
    assert noise_loss(predicted, noise, torch.tensor([True, False]), EVERYWHERE) == only_first


def losses_of(predicted: torch.Tensor, normal: torch.Tensor, valid: torch.Tensor) -> list[torch.Tensor]:
    truth, kept = squares(1), torch.full((2, 1, 1, 1), 0.5)
    return [
        noise_loss(predicted, truth, normal, valid),
        clean_loss(predicted, truth, kept, normal, valid),
        feature_loss([predicted], [truth], normal, valid),
    ]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_without_a_normal_image_the_loss_and_its_gradient_are_zero_and_finite(index):
    predicted = squares(0).requires_grad_()
    loss = losses_of(predicted, NEITHER, EVERYWHERE)[index]
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(predicted.grad, torch.zeros(2, 3, 2, 2))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_padding_does_not_count(index):
    predicted = squares(0)
    elsewhere = predicted.clone()
    elsewhere[..., 1] += 100
    before, after = (losses_of(p, BOTH, left_half())[index] for p in (predicted, elsewhere))
    assert float(before) > 0
    assert float(after) == pytest.approx(float(before))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.75])
def test_the_clean_loss_is_the_noise_loss_of_eq_6_with_one_added_to_its_weight(kept):
    clean, noise, predicted = squares(0), squares(1), squares(2)
    share = torch.full((2, 1, 1, 1), kept)
    noisy = kept**0.5 * clean + (1 - kept) ** 0.5 * noise
    implied = (noisy - kept**0.5 * predicted) / (1 - kept) ** 0.5
    expected = noise_loss(implied, noise, BOTH, EVERYWHERE) + (predicted - clean).square().mean()
    found = clean_loss(predicted, clean, share, BOTH, EVERYWHERE)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_the_weight_of_the_clean_loss_is_cut_at_five():
    clean, predicted = torch.zeros(2, 3, 2, 2), torch.ones(2, 3, 2, 2)
    share = torch.full((2, 1, 1, 1), 0.9999)
    assert float(clean_loss(predicted, clean, share, BOTH, EVERYWHERE)) == 5


def test_the_feature_loss_adds_the_strides():
    ones, zeros = torch.ones(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    coarse = torch.full((2, 5, 1, 1), 2.0)
    found = feature_loss([ones, coarse], [zeros, torch.zeros(2, 5, 1, 1)], BOTH, EVERYWHERE)
    assert float(found) == 1 + 4


def test_focal_loss_is_that_of_torchvision_with_alpha_one_half():
    logits, mask = 3 * squares(0, 1), (squares(1, 1) > 0).float()
    for focus in (0.0, 2.0, 4.0):
        expected = sigmoid_focal_loss(logits, mask, alpha=0.5, gamma=focus, reduction="mean")
        found = focal_loss(logits, mask, focus)
        assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_focal_loss_is_the_formula_written_out():
    p, y = 0.3, 1.0
    logits = torch.full((1, 1, 1, 1), math.log(p / (1 - p)))
    expected = 0.5 * (1 - p) ** 4 * -math.log(p)
    found = focal_loss(logits, torch.full((1, 1, 1, 1), y))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_mask_loss_of_an_undecided_map_by_hand():
    logits, mask = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    expected = 0.5 * 0.5**2 + 5 * 0.5 * 0.5**4 * math.log(2)
    assert float(mask_loss(logits, mask)) == pytest.approx(expected, rel=1e-6)


def test_a_perfect_and_certain_map_costs_nothing_and_a_wrong_one_stays_finite():
    mask = (squares(1, 1) > 0).float()
    certain = (2 * mask - 1) * 200
    assert float(mask_loss(certain, mask)) == 0
    wrong = (-certain).requires_grad_()
    loss = mask_loss(wrong, mask)
    loss.backward()
    assert loss.isfinite()
    assert wrong.grad.isfinite().all()
