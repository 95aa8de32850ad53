"""Guidance: pulling one prediction towards another."""

from __future__ import annotations

import torch
from torch import Tensor


def norm_guided(fine: Tensor, anchor: Tensor, kept: Tensor, weight: float = 1.0) -> Tensor:
    """Return the fine reconstruction pulled to the defect-free anchor (DiffusionAD, Eq. 7 and 8).

        x0_g = x0_s + w * (1 - alpha_bar_s) * (x0_b - x0_s)

    The closed form of both equations: weight 0 gives `fine`, weight 1 / (1 - alpha_bar_s) gives
    `anchor`. fine, anchor: (B, C, H, W) in the image's range; kept: alpha_bar at the small step,
    (B, 1, 1, 1).
    """
    return torch.lerp(fine, anchor, (weight * (1 - kept)).to(fine.dtype))


def classifier_free(without: Tensor, with_: Tensor, scale: float) -> Tensor:
    """Return the prediction pushed along what the context changes (AnomalyDiffusion, Eq. 10).

        epsilon = epsilon(x_t) + s * (epsilon(x_t, e) - epsilon(x_t))

    Scale 1 gives `with_` and 0 `without`, bit for bit. without, with_: predicted with the empty context
    and with the real one, (B, C, h, w).
    """
    return torch.lerp(without, with_, scale)
