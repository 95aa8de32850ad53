"""What a defect looks like, read off one photo: the first guess of the tokens that say so."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish.networks.encoder import LiteEncoder

_RING = 9


class Describer(nn.Module):
    """Turns a photo of a defect into anomaly tokens, ours: textual inversion in one pass.

    The ImageNet features inside the defect, their spread, and how they differ from those around it, go
    through a small network. It is trained with the prior, on pairs of drawn defects of one style: the
    tokens of one must paint the other. On real photos it is where textual inversion starts.
    """

    widths = LiteEncoder.widths

    def __init__(self, tokens: int, width: int, hidden: int = 512) -> None:
        super().__init__()
        self.tokens = tokens
        inputs = 3 * (sum(self.widths) + 3)
        self.body = nn.Sequential(
            nn.LayerNorm(inputs),
            nn.Linear(inputs, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, tokens * width),
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor, mask: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return tokens (B, tokens, width), each of mean square 1 at first.

        image: (B, 3, H, W), standardised; mask: (B, 1, H, W) in {0, 1}; features: of the image at
        strides 2, 4, 8, 16 (`LiteEncoder`).
        """
        found = torch.cat([statistics(x.float(), mask) for x in (image, *features)], dim=1)
        tokens: Tensor = self.norm(self.body(found).unflatten(1, (self.tokens, -1)))
        return tokens


def statistics(values: Tensor, mask: Tensor) -> Tensor:
    """Return mean and deviation inside the mask, and mean inside minus mean around it, (B, 3 C).

    values: (B, C, h, w); mask: (B, 1, H, W) in {0, 1}, on a grid as fine or finer: a cell counts by the
    share of it that is covered. Around: within a window of nine cells of the mask.
    """
    size = (values.shape[-2], values.shape[-1])
    inside = F.adaptive_avg_pool2d(mask, size)
    around = (F.max_pool2d(inside, _RING, 1, _RING // 2) - inside).clamp_min(0)
    mean, square = _mean(values, inside), _mean(values.square(), inside)
    deviation = (square - mean.square()).clamp_min(0).add(1e-6).sqrt()
    return torch.cat([mean, deviation, mean - _mean(values, around)], dim=1)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum(dim=(2, 3)).clamp_min(1e-6)
    return (values * weight).sum(dim=(2, 3)) / total
