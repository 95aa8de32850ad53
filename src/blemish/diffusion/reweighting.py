"""Adaptive attention re-weighting: which cells of the mask still look normal.

Eq. 7 of AnomalyDiffusion in three readings. All hand out ||m||_1 among the cells of the mask, more
where the painting is still close to the photo; they differ in what is compared and in how closeness
becomes a share.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EPSILON = 1e-12


def paper_weights(painted: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Return the attention weights as the paper prints them (AnomalyDiffusion, Eq. 7).

        w = ||m||_1 * softmax(f(d)),  d = ||m * y - m * x_0||^2,  f(d) = 1 / d, or -inf where d = 0

    For the decoded estimate of the clean image and the photo, both (B, 3, H, W); mask: (B, 1, H, W) in
    {0, 1}. Returns (B, 1, H, W) with mean 1 over the mask and 0 outside. As 1 / d spans orders of
    magnitude, nearly all goes to one pixel, and a pixel equal to the photo gets nothing. Where nothing
    differs the formula is undefined and the weight is the mask.
    """
    apart = _apart(painted, photo, mask)
    largest = torch.finfo(apart.dtype).max
    closeness = apart.reciprocal().clamp(max=largest).masked_fill(apart == 0, -torch.inf)
    shares = _softmax(closeness)
    return torch.where(shares.isnan(), mask, _area(mask) * shares)


def reference_weights(painted: Tensor, photo: Tensor, mask: Tensor, ceiling: float = 1.5) -> Tensor:
    """Return the attention weights as the published code has them (AnomalyDiffusion, Eq. 7).

        w = ||m||_1 * (1 / d) / sum(1 / d), clipped to [1, ceiling]; 1 outside the mask

    The code passes the *noisy* latent and the clean latent of the photo, so that noise decides at
    large t; with the predicted clean latent this is the L1 form of `tempered_weights`.
    painted, photo: (B, C, h, w); mask: (B, 1, h, w) in {0, 1}. Returns (B, 1, h, w).
    """
    closeness = mask / _apart(painted, photo, mask).clamp_min(_EPSILON)
    shares = closeness / closeness.sum(dim=(1, 2, 3), keepdim=True).clamp_min(_EPSILON)
    return _clipped(_area(mask) * shares, mask, ceiling)


def tempered_weights(
    painted: Tensor, photo: Tensor, mask: Tensor, temperature: float = 1.0, ceiling: float = 1.5
) -> Tensor:
    """Return attention weights that no single cell takes for itself, ours (AnomalyDiffusion, Eq. 7).

        w = ||m||_1 * softmax(-d / (temperature * mean(d))), clipped to [1, ceiling]; 1 outside the mask

    For the predicted clean latent and the latent of the photo, both (B, C, h, w): the sampler knows the
    first anyway, and the scale of d cancels, so that the weights mean the same at every step.
    mask: (B, 1, h, w) in {0, 1}. Returns (B, 1, h, w); all ones where all cells differ equally, and the
    closer to one the higher the temperature.
    """
    apart = _apart(painted, photo, mask)
    mean = apart.sum(dim=(1, 2, 3), keepdim=True) / _area(mask).clamp_min(1)
    closeness = -apart / (temperature * mean.clamp_min(_EPSILON))
    shares = _softmax(closeness.masked_fill(mask == 0, -torch.inf))
    return _clipped(_area(mask) * shares, mask, ceiling)


def _apart(painted: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Return how far painting and photo are apart in each cell, squared, (B, 1, h, w); 0 outside."""
    return (mask * (painted - photo)).square().sum(1, keepdim=True)


def _area(mask: Tensor) -> Tensor:
    return mask.sum(dim=(1, 2, 3), keepdim=True)


def _softmax(closeness: Tensor) -> Tensor:
    return closeness.flatten(1).softmax(1).view_as(closeness)


def _clipped(weights: Tensor, mask: Tensor, ceiling: float) -> Tensor:
    return torch.where(mask > 0, weights.clamp(1, ceiling), 1)
