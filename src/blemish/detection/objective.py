"""What the two networks are trained for: small pure losses, one value an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_WEIGHT = 5.0


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Return each image's mean over its valid pixels: (B, C, H, W) and (B, 1, H, W) to (B,)."""
    weight = valid.expand_as(values)
    return (values * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1)


def noise_loss(predicted: Tensor, noise: Tensor, normal: Tensor, valid: Tensor) -> Tensor:
    """Return the denoising error of the normal images only (DiffusionAD, Eq. 9, one noise scale).

        L = mean over y = 0 of || epsilon - epsilon_theta ||^2 / (C H W)

    The paper's factor 1/2 is left out, as in its published code. predicted, noise: (B, C, H, W);
    normal: bool (B,), True where y = 0; valid: (B, 1, H, W) in {0, 1}, 0 on padding. A scalar, 0 when
    no image is normal.
    """
    return _normal_mean(masked_mean((predicted - noise).square(), valid), normal)


def clean_loss(predicted: Tensor, clean: Tensor, kept: Tensor, normal: Tensor, valid: Tensor) -> Tensor:
    """Return `noise_loss` for a network that predicts the clean image (DiffusionAD, Eq. 9, by Eq. 6).

        ||epsilon - epsilon_theta||^2 = alpha_bar / (1 - alpha_bar) * ||x_0 - x_theta||^2

    The weight used is that of the v-prediction, 1 / (1 - alpha_bar), cut at 5: it equals the one above
    plus 1, so that large noise still counts. predicted, clean: (B, C, H, W); kept: (B, 1, 1, 1);
    normal: bool (B,); valid: (B, 1, H, W). A scalar, 0 when no image is normal.
    """
    weight = (1 / (1 - kept)).clamp_max(5.0).flatten()
    return _normal_mean(weight * masked_mean((predicted - clean).square(), valid), normal)


def feature_loss(
    predicted: list[Tensor], features: list[Tensor], normal: Tensor, valid: Tensor
) -> Tensor:
    """Return the error of the expected features of normal images (ours; Eq. 9 in feature space).

        L = sum over strides of mean over y = 0 of || phi(x_0) - phi_theta(x_t, t) ||^2 / C

    predicted, features: (B, C, h, w) at each stride, standardised; normal: bool (B,); valid:
    (B, 1, H, W). A scalar, 0 when no image is normal.
    """
    total = torch.zeros((), device=valid.device)
    for guess, truth in zip(predicted, features, strict=True):
        inside = F.adaptive_avg_pool2d(valid, (truth.shape[-2], truth.shape[-1]))
        error = masked_mean((guess.float() - truth.float()).square(), inside)
        total = total + _normal_mean(error, normal)
    return total


def focal_loss(logits: Tensor, mask: Tensor, focus: float = 4.0) -> Tensor:
    """Return the focal term of the mask loss as a scalar (DiffusionAD, Eq. 10).

        1/2 * (1 - p_t)^focus * cross entropy,  p_t the probability given to the truth

    Both classes weigh 1/2. logits, mask: (B, 1, H, W).
    """
    entropy = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    missed = 1 - torch.exp(-entropy)
    return (0.5 * missed.pow(focus) * entropy).mean()


def mask_loss(logits: Tensor, mask: Tensor, weight: float = FOCAL_WEIGHT) -> Tensor:
    """Return the segmentation loss (DiffusionAD, Eq. 10).

        L_mask = SmoothL1(M, M_hat) + gamma * L_focal(M, M_hat),  gamma = 5

    Padding counts, with the mask that its photo's repeated edge has: where nothing is asked of a
    network it says anything, and through the normalisation of whole pictures that is felt everywhere.
    logits: (B, 1, H, W), M_hat is their sigmoid; mask in {0, 1}. A scalar.
    """
    return F.smooth_l1_loss(logits.sigmoid(), mask) + weight * focal_loss(logits, mask)


def _normal_mean(losses: Tensor, normal: Tensor) -> Tensor:
    """Return the mean loss of the normal images, 0 when there is none."""
    chosen = normal.to(losses.dtype)
    return (losses * chosen).sum() / chosen.sum().clamp_min(1)
