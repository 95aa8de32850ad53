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


def kept_at(kept: Tensor, step: Tensor) -> Tensor:
    """Return alpha_bar at each image's step as float32 (B, 1, 1, 1), ready to broadcast."""
    return kept.to(step.device)[step].float().view(-1, 1, 1, 1)


def add_noise(clean: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """Return the noisy image (DiffusionAD, Eq. 1).

        x_t = sqrt(alpha_bar_t) * x_0 + sqrt(1 - alpha_bar_t) * epsilon

    clean, noise: (B, C, H, W); kept: alpha_bar_t, (B, 1, 1, 1).
    """
    return kept.sqrt() * clean + (1 - kept).sqrt() * noise


def predict_clean(noisy: Tensor, noise: Tensor, kept: Tensor) -> Tensor:
    """Return the clean image that the predicted noise implies, in one step (DiffusionAD, Eq. 6).

        x_0 = (x_t - sqrt(1 - alpha_bar_t) * epsilon) / sqrt(alpha_bar_t)

    noisy, noise: (B, C, H, W); kept: alpha_bar_t, (B, 1, 1, 1). The inverse of `add_noise`.
    """
    return (noisy - (1 - kept).sqrt() * noise) / kept.sqrt()


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
