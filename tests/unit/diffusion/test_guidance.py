from __future__ import annotations

import pytest
import torch

from blemish.diffusion import classifier_free, linear_kept, norm_guided


def pictures(count: int) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 8, 8, generator=rng, dtype=torch.float64) for _ in range(count)]


def kept_of(step: int) -> torch.Tensor:
    return linear_kept()[step].view(1, 1, 1, 1)


@pytest.mark.parametrize("step", [0, 50, 200, 299])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 2.9, 4.0])
def test_the_closed_form_equals_the_equations_of_the_paper_one_after_the_other(step, weight):
    x0, true_noise, predicted_noise, n = pictures(4)
    kept = kept_of(step)
    x_t = kept.sqrt() * x0 + (1 - kept).sqrt() * true_noise  # Eq. 1
    fine = (x_t - (1 - kept).sqrt() * predicted_noise) / kept.sqrt()  # Eq. 6
    n_t = kept.sqrt() * n + (1 - kept).sqrt() * predicted_noise  # Eq. 5
    guided_noise = predicted_noise - (1 - kept).sqrt() * weight * (n_t - x_t)  # Eq. 7
    guided = (x_t - (1 - kept).sqrt() * guided_noise) / kept.sqrt()  # Eq. 8
    torch.testing.assert_close(norm_guided(fine, n, kept, weight), guided)


def test_without_weight_the_fine_reconstruction_comes_back_bit_for_bit():
    fine, anchor = pictures(2)
    assert torch.equal(norm_guided(fine, anchor, kept_of(200), 0.0), fine)


def test_the_weight_of_one_over_the_noise_gives_the_anchor():
    fine, anchor = pictures(2)
    kept = kept_of(200)
    torch.testing.assert_close(norm_guided(fine, anchor, kept, float(1 / (1 - kept))), anchor)


def test_at_the_step_of_the_paper_a_third_of_the_way_is_gone():
    fine, anchor = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    found = norm_guided(fine, anchor, kept_of(200).float())
    torch.testing.assert_close(found, torch.full_like(found, 0.344), rtol=0, atol=5e-4)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 5.0])
def test_classifier_free_guidance_is_the_equation_of_the_paper(scale):
    without, with_ = pictures(2)
    found = classifier_free(without, with_, scale)
    torch.testing.assert_close(found, without + scale * (with_ - without))


def test_scale_one_trusts_the_context_and_zero_ignores_it_bit_for_bit():
    without, with_ = pictures(2)
    assert torch.equal(classifier_free(without, with_, 1.0), with_)
    assert torch.equal(classifier_free(without, with_, 0.0), without)
