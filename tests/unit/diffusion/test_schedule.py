from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from blemish.diffusion import (
    add_noise,
    clean_from_velocity,
    implied_noise,
    kept_at,
    linear_kept,
    noise_from_velocity,
    posterior_step,
    predict_clean,
    scaled_linear_kept,
    velocity,
)


def pictures(count: int, seed: int = 0) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, 8, 8, generator=rng, dtype=torch.float64) for _ in range(count)]


def share(kept: torch.Tensor, step: int) -> torch.Tensor:
    return kept[step].view(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("last", "step", "expected"),
    [
        (2e-2, 50, 0.970),
        (2e-2, 100, 0.895),
        (2e-2, 200, 0.656),
        (2e-2, 299, 0.396),
        (2e-2, 400, 0.194),
        (2e-2, 600, 0.026),
        (1e-2, 200, 0.803),
        (1e-2, 400, 0.433),
        (1e-2, 600, 0.157),
        (1e-2, 999, 0.006),
    ],
)
def test_the_share_of_signal_kept_is_that_of_the_published_schedule(last, step, expected):
    assert float(linear_kept(1000, 1e-4, last)[step]) == pytest.approx(expected, abs=5e-4)


def test_the_share_kept_is_the_product_of_one_minus_beta_up_to_and_including_the_step():
    kept, product = linear_kept().numpy(), 1.0
    for step in range(1000):
        product *= 1 - (1e-4 + (2e-2 - 1e-4) * step / 999)
        assert kept[step] == pytest.approx(product, rel=1e-12)
    assert kept.dtype == np.float64


def test_the_schedule_is_that_of_diffusers():
    theirs = DDPMScheduler(1000, 1e-4, 2e-2, "linear").alphas_cumprod
    torch.testing.assert_close(linear_kept().float(), theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("step", [99, 249, 499])
def test_a_schedule_of_half_the_length_loses_the_signal_twice_as_fast(step):
    half, full = linear_kept(500)[step], linear_kept(1000)[2 * step + 1]
    assert float(half.log()) == pytest.approx(float(full.log()), rel=0.03)


def test_each_image_gets_the_share_of_its_own_step():
    kept = linear_kept()
    found = kept_at(kept, torch.tensor([0, 999, 200]))
    assert found.shape == (3, 1, 1, 1)
    assert found.dtype == torch.float32
    assert found.flatten().tolist() == kept[[0, 999, 200]].float().tolist()


@pytest.mark.parametrize("step", [0, 200, 999])
def test_with_the_true_noise_one_step_leads_back_to_the_clean_image(step):
    clean, noise = pictures(2)
    kept = share(linear_kept(), step)
    noisy = add_noise(clean, noise, kept)
    torch.testing.assert_close(predict_clean(noisy, noise, kept), clean)


def test_a_noisy_image_of_unit_variance_keeps_unit_variance():
    rng = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 1, 3, 128, 128, generator=rng, dtype=torch.float64)
    noisy = add_noise(clean, noise, share(linear_kept(), 200))
    assert float(noisy.var()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("step", [1, 200, 999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_iterative_step_is_that_of_diffusers(step, dtype):
    scheduler = DDPMScheduler(
        1000,
        1e-4,
        2e-2,
        "linear",
        variance_type="fixed_small",
        clip_sample=False,
        prediction_type="sample",
    )
    noisy, clean = (picture.to(dtype) for picture in pictures(2))
    theirs = scheduler.step(clean, step, noisy, generator=torch.Generator().manual_seed(5)).prev_sample
    noise = torch.randn(noisy.shape, generator=torch.Generator().manual_seed(5), dtype=dtype)
    kept = linear_kept()
    ours = posterior_step(noisy, clean, share(kept, step), share(kept, step - 1), noise)
    torch.testing.assert_close(ours.to(dtype), theirs, rtol=1e-3, atol=1e-4)


def test_the_iterative_mean_is_the_one_that_the_paper_prints():
    noisy, noise = pictures(2)
    kept = linear_kept()
    now, before = share(kept, 200), share(kept, 199)
    alpha = now / before
    printed = (noisy - (1 - alpha) / (1 - now).sqrt() * noise) / alpha.sqrt()
    clean = predict_clean(noisy, noise, now)
    ours = posterior_step(noisy, clean, now, before, torch.zeros_like(noisy))
    torch.testing.assert_close(ours, printed)


def test_the_last_iterative_step_returns_the_clean_image():
    noisy, clean, noise = pictures(3)
    found = posterior_step(
        noisy, clean, share(linear_kept(), 0), torch.ones(1, 1, 1, 1, dtype=torch.float64), noise
    )
    torch.testing.assert_close(found, clean)


@pytest.mark.parametrize(
    ("step", "expected"), [(200, 0.754), (400, 0.4245), (600, 0.161), (999, 0.0047)]
)
def test_the_share_kept_by_latent_diffusion_is_the_published_one(step, expected):
    assert float(scaled_linear_kept()[step]) == pytest.approx(expected, abs=5e-4)


def test_the_schedule_of_latent_diffusion_is_that_of_diffusers():
    theirs = DDPMScheduler(1000, 8.5e-4, 1.2e-2, "scaled_linear").alphas_cumprod
    torch.testing.assert_close(scaled_linear_kept().float(), theirs, rtol=1e-5, atol=1e-7)
    assert scaled_linear_kept().dtype == torch.float64
    assert float(scaled_linear_kept(500)[249].log()) == pytest.approx(
        float(scaled_linear_kept()[499].log()), rel=0.03
    )


@pytest.mark.parametrize("step", [0, 200, 999])
def test_clean_noise_and_velocity_say_the_same(step):
    clean, noise = pictures(2)
    kept = share(linear_kept(), step)
    noisy = add_noise(clean, noise, kept)
    v = velocity(clean, noise, kept)
    torch.testing.assert_close(implied_noise(noisy, clean, kept), noise)
    torch.testing.assert_close(clean_from_velocity(noisy, v, kept), clean)
    torch.testing.assert_close(noise_from_velocity(noisy, v, kept), noise)


def test_the_velocity_is_that_of_diffusers():
    clean, noise = (picture.float() for picture in pictures(2))
    steps = torch.tensor([3, 700])
    theirs = DDPMScheduler(1000, 1e-4, 2e-2, "linear").get_velocity(clean, noise, steps)
    ours = velocity(clean, noise, kept_at(linear_kept(), steps))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
