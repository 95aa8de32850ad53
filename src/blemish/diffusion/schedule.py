"""The noise schedule and the algebra between a clean image, its noise, and their mixture."""

from __future__ import annotations

import torch
from torch import Tensor


def linear_kept(steps: int = 1000, first: float = 1e-4, last: float = 2e-2) -> Tensor:
    """Return alpha_bar, the share of the signal's variance kept at each step (DiffusionAD, Eq. 1).

        alpha_bar_t = prod_{i <= t} (1 - beta_i),  beta linear from `first` to `last`

    float64 (steps,), falling, in (0, 1). The paper prints last = 1e-2; its steps 200 and 400 were
    tuned with 2e-2, which is the default. Other lengths than 1000 scale the betas by 1000 / steps.
    """
    scale = 1000 / steps
    beta = torch.linspace(scale * first, scale * last, steps, dtype=torch.float64)
    return torch.cumprod(1 - beta, dim=0)


def scaled_linear_kept(steps: int = 1000, first: float = 8.5e-4, last: float = 1.2e-2) -> Tensor:
    """Return alpha_bar of latent diffusion (Rombach et al. 2022, code): sqrt(beta) is linear.

        alpha_bar_t = prod_{i <= t} (1 - beta_i),  sqrt(beta) linear from sqrt(first) to sqrt(last)

    float64 (steps,), falling, in (0, 1). Other lengths than 1000 scale the betas by 1000 / steps.
    """
    scale = 1000 / steps
    root = torch.linspace((scale * first) ** 0.5, (scale * last) ** 0.5, steps, dtype=torch.float64)
    return torch.cumprod(1 - root.square(), dim=0)


def kept_at(kept: Tensor, step: Tensor) -> Tensor:
    """Return alpha_bar at each image's step as float32 (B, 1, 1, 1), ready to broadcast."""
    return kept.to(step.device)[step].float().view(-1, 1, 1, 1)


def add_noise(clean: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """Return the noisy image (DiffusionAD, Eq. 1).

        x_t = sqrt(alpha_bar_t) * x_0 + sqrt(1 - alpha_bar_t) * epsilon

    With the photo as clean image it is q(y_t | y_0), what a painting is blended with
    (AnomalyDiffusion, Eq. 1). clean, noise: (B, C, H, W); kept: alpha_bar_t, (B, 1, 1, 1).
    """
    return kept.sqrt() * clean + (1 - kept).sqrt() * noise


def predict_clean(noisy: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """Return the clean image that the predicted noise implies, in one step (DiffusionAD, Eq. 6).

        x_0 = (x_t - sqrt(1 - alpha_bar_t) * epsilon) / sqrt(alpha_bar_t)

    noisy, noise: (B, C, H, W); kept: alpha_bar_t, (B, 1, 1, 1). The inverse of `add_noise`.
    """
    return (noisy - (1 - kept).sqrt() * noise) / kept.sqrt()


def implied_noise(noisy: Tensor, clean: Tensor, kept: Tensor) -> Tensor:
    """Return the noise that a clean image leaves to explain (Ho et al. 2020, Eq. 4 solved for it).

        epsilon = (x_t - sqrt(alpha_bar_t) * x_0) / sqrt(1 - alpha_bar_t)

    noisy, clean: (B, C, H, W); kept: alpha_bar_t < 1, (B, 1, 1, 1).
    """
    return (noisy - kept.sqrt() * clean) / (1 - kept).sqrt()


def velocity(clean: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """Return what a network of v-prediction predicts (Salimans and Ho 2022).

        v = sqrt(alpha_bar_t) * epsilon - sqrt(1 - alpha_bar_t) * x_0

    With x_t it is the pair (x_0, epsilon) turned by an angle: both come back without a division.
    clean, noise: (B, C, H, W); kept: alpha_bar_t, (B, 1, 1, 1).
    """
    return kept.sqrt() * noise - (1 - kept).sqrt() * clean


def clean_from_velocity(noisy: Tensor, v: Tensor, kept: Tensor) -> Tensor:
    """Return the clean image that a predicted velocity implies (Salimans and Ho 2022).

        x_0 = sqrt(alpha_bar_t) * x_t - sqrt(1 - alpha_bar_t) * v

    noisy, v: (B, C, H, W); kept: alpha_bar_t, (B, 1, 1, 1).
    """
    return kept.sqrt() * noisy - (1 - kept).sqrt() * v


def noise_from_velocity(noisy: Tensor, v: Tensor, kept: Tensor) -> Tensor:
    """Return the noise that a predicted velocity implies (Salimans and Ho 2022).

        epsilon = sqrt(alpha_bar_t) * v + sqrt(1 - alpha_bar_t) * x_t

    noisy, v: (B, C, H, W); kept: alpha_bar_t, (B, 1, 1, 1).
    """
    return kept.sqrt() * v + (1 - kept).sqrt() * noisy


def posterior_step(
    noisy: Tensor, clean: Tensor, kept: Tensor, kept_before: Tensor, noise: Tensor
) -> Tensor:
    """Return one iterative denoising step from t to t - 1 (DiffusionAD, Eq. 3).

        x_{t-1} = sqrt(ab_{t-1}) beta / (1 - ab_t) * x_0 + sqrt(alpha) (1 - ab_{t-1}) / (1 - ab_t) * x_t
                  + sqrt(beta_tilde) * z,   beta_tilde = (1 - ab_{t-1}) / (1 - ab_t) * beta

    This is the paper's mean, written with the predicted clean image. The paper prints beta_tilde * z,
    a slip: the standard deviation is its root. With kept_before = 1 the clean image comes back.
    noisy, clean, noise: (B, C, H, W); kept, kept_before: alpha_bar at t and t - 1, (B, 1, 1, 1).
    """
    alpha = kept / kept_before
    beta = 1 - alpha
    mean = (kept_before.sqrt() * beta * clean + alpha.sqrt() * (1 - kept_before) * noisy) / (1 - kept)
    return mean + ((1 - kept_before) / (1 - kept) * beta).sqrt() * noise
