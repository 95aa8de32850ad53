"""The noise schedule and the prediction of a pretrained model, read from its scheduler's settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from blemish.diffusion import implied_noise, noise_from_velocity
from blemish.errors import ArtifactError

PREDICTIONS = ("epsilon", "v_prediction", "sample")


def kept_of(settings: Mapping[str, Any]) -> Tensor:
    """Return alpha_bar, float64 (T,), of the settings in a diffusers `scheduler_config.json`.

        alpha_bar_t = prod_{i <= t} (1 - beta_i)

    What the settings leave out has the value that every scheduler of diffusers gives it.

    Raises:
        ArtifactError: the schedule of the betas is none of diffusers' image models.
    """
    kept = torch.cumprod(1 - _beta(settings), dim=0)
    return _without_signal_at_the_end(kept) if settings.get("rescale_betas_zero_snr") else kept


def _beta(settings: Mapping[str, Any]) -> Tensor:
    trained = settings.get("trained_betas")
    if trained is not None:
        return torch.tensor(trained, dtype=torch.float64)
    steps = settings.get("num_train_timesteps", 1000)
    first, last = settings.get("beta_start", 1e-4), settings.get("beta_end", 2e-2)
    kind = settings.get("beta_schedule", "linear")
    if kind == "linear":
        return torch.linspace(first, last, steps, dtype=torch.float64)
    if kind == "scaled_linear":
        return torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64) ** 2
    if kind == "squaredcos_cap_v2":
        return _cosine_beta(steps)
    raise ArtifactError(
        f"beta_schedule is {kind!r}, expected linear, scaled_linear or squaredcos_cap_v2",
        hint="choose a backbone of one of the supported layouts",
    )


def _cosine_beta(steps: int) -> Tensor:
    """Return the betas of Nichol and Dhariwal 2021, Eq. 17, cut off at 0.999."""
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    kept = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - kept[1:] / kept[:-1]).clamp(max=0.999)


def _without_signal_at_the_end(kept: Tensor) -> Tensor:
    """Return the schedule of Lin et al. 2024, Algorithm 1: the last step keeps nothing."""
    signal = kept.sqrt()
    first, last = signal[0], signal[-1]
    return ((signal - last) * first / (first - last)) ** 2


def noise_of(output: Tensor, noisy: Tensor, kept: Tensor, prediction: str) -> Tensor:
    """Return the noise that a network's output implies.

        epsilon:       output
        v_prediction:  sqrt(alpha_bar_t) * output + sqrt(1 - alpha_bar_t) * x_t
        sample:        (x_t - sqrt(alpha_bar_t) * output) / sqrt(1 - alpha_bar_t)

    output, noisy: (B, C, h, w); kept: alpha_bar_t, (B, 1, 1, 1); prediction: one of `PREDICTIONS`.
    """
    if prediction == "v_prediction":
        return noise_from_velocity(noisy, output, kept)
    if prediction == "sample":
        return implied_noise(noisy, output, kept)
    return output
