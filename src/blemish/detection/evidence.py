"""What speaks for a defect at each place, and how its kinds add up to a verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

PLAIN, SOFTNESS = 2.0, 2.0
"""Novelty counts in full up to so many standard deviations, and beyond for never more than so many."""

EVEN = PLAIN + SOFTNESS
"""Where the map is one half, in standard deviations of novelty: as much as novelty alone can say."""

SHARPNESS, REACH = 0.5, 6
"""What a cell of stride 4 loses for each unit that its residual lacks to the largest within reach."""


class Opinion(NamedTuple):
    """What speaks for a defect.

    learned: the segmenter's logits, float32 (B, 1, H, W). novelty: (B, 1, H/8, W/8); residual: log
    distance from the expected features, (B, 1, H/4, W/4); both None without features.
    reconstruction: (B, 3, H, W) in [0, 1].
    """

    learned: Tensor
    novelty: Tensor | None
    residual: Tensor | None
    reconstruction: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> Opinion:
        """Return the opinion with every tensor changed."""
        return Opinion._make(None if value is None else change(value) for value in self)

    def verdict(self, ceiling: Tensor, trust: Tensor | float = 1.0) -> Tensor:
        """Return the logits (B, 1, H, W) of a defect (ours).

            bounded(novelty) + trust * max(0, learned - ceiling)
                - sharpness * (largest residual nearby - residual)
                - even
            bounded(n) = min(n, plain) + softness * tanh(max(0, n - plain) / softness)

        Without novelty they are the segmenter's. With it, two kinds of evidence add up: the novelty,
        which knows no drawn defect and so cannot have learned wrongly, and what the segmenter says
        beyond `ceiling`, which it does not reach on most pixels of good photos that it has not seen.
        trust: how much that counts, more where it learned from examples of real defects. Novelty is
        coarse; the distance from what the denoiser expects is fine, and says where in the neighbourhood
        the defect lies: the third term takes the halo away and leaves the peak. Novelty is bounded: a
        cell of stride 8 that stands out does not say which of its pixels are the defect, and finer
        evidence has to decide among them (docs/lab.md).
        """
        if self.novelty is None or self.residual is None:
            return self.learned
        size = (self.learned.shape[-2], self.learned.shape[-1])
        novelty = F.interpolate(bounded(self.novelty), size, mode="bilinear")
        halo = F.interpolate(below_peak(self.residual, REACH), size, mode="bilinear")
        return novelty + trust * F.relu(self.learned - ceiling) - SHARPNESS * halo - EVEN


def bounded(novelty: Tensor) -> Tensor:
    """Return novelty as it is up to `PLAIN`, and beyond bent to stay below `EVEN`."""
    return novelty.clamp(max=PLAIN) + SOFTNESS * torch.tanh(F.relu(novelty - PLAIN) / SOFTNESS)


def below_peak(values: Tensor, reach: int) -> Tensor:
    """Return how far each cell stays below the largest within `reach` cells: (B, 1, h, w), >= 0."""
    rows = F.max_pool2d(values, (1, 2 * reach + 1), 1, (0, reach))
    return F.max_pool2d(rows, (2 * reach + 1, 1), 1, (reach, 0)) - values
