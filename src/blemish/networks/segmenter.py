"""The paper's segmentation network: a U-Net on the photo and its reconstruction."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, outputs), _convolution(outputs, outputs))


class UNetSegmenter(nn.Module):
    """Marks the pixels where a photo and its reconstruction disagree (DiffusionAD, section 4.1).

    With one picture instead of two it is the localiser of AnomalyDiffusion's downstream task. Six
    encoder blocks of widths w x (1, 2, 4, 8, 8, 8), five decoder blocks, one output channel. Batch
    normalisation as in the paper: in training the statistics are those of the whole batch.
    """

    def __init__(self, width: int = 64, pictures: int = 2) -> None:
        super().__init__()
        down = [width * factor for factor in (1, 2, 4, 8, 8, 8)]
        up = [width * factor for factor in (8, 4, 2, 1, 1)]
        self.down = nn.ModuleList(
            _pair(inputs, outputs) for inputs, outputs in zip([3 * pictures, *down], down, strict=False)
        )
        self.lift = nn.ModuleList()
        self.join = nn.ModuleList()
        current = down[-1]
        for skip, outputs in zip(down[-2::-1], up, strict=True):
            self.lift.append(_convolution(current, outputs))
            self.join.append(_pair(outputs + skip, outputs))
            current = outputs
        self.head = nn.Conv2d(current, 1, 3, padding=1)

    def forward(self, *pictures: Tensor) -> Tensor:
        """Return logits (B, 1, H, W); pictures: photo and reconstruction, (B, 3, H, W) in [0, 1]."""
        x = torch.cat(pictures, dim=1)
        skips = []
        for index, block in enumerate(self.down):
            x = block(x if index == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for lift, join in zip(self.lift, self.join, strict=True):
            x = lift(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True))
            x = join(torch.cat([x, skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits
