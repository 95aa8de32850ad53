"""A small network that marks defects in a photo, on ImageNet features."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from blemish.networks.comparator import PRIOR, refinement
from blemish.networks.encoder import LiteEncoder


class LiteLocaliser(nn.Module):
    """Marks defects from features of EfficientNet-Lite0, which stay frozen.

    The pyramid of `Comparator` without a reconstruction to compare with: at strides 16, 8, 4 and 2 the
    features enter through 1 x 1 convolutions, at stride 2 the photo itself too. It learns in hundreds
    of iterations where the paper's U-Net, from scratch, takes thousands.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder = LiteEncoder()
        widths = [width, 2 * width, 3 * width, 4 * width]
        self.read = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1)
            for inputs, outputs in zip(self.encoder.widths, widths, strict=True)
        )
        self.lift = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in itertools.pairwise(widths)
        )
        self.pixels = nn.Conv2d(3 * 4, width, 1, bias=False)
        self.refine = nn.ModuleList(refinement(w, 1 if w == width else 2) for w in widths)
        self.head = nn.Conv2d(width, 4, 3, padding=1)
        nn.init.constant_(self.head.bias, PRIOR)  # type: ignore[arg-type]

    def forward(self, photo: Tensor) -> Tensor:
        """Return logits (B, 1, H, W); photo: (B, 3, H, W) in [0, 1], sides multiples of 16."""
        features = self.encoder(photo)
        x: Tensor | None = None
        for level in (3, 2, 1, 0):
            y = self.read[level](features[level])
            if level == 0:
                y = y + self.pixels(F.pixel_unshuffle(photo, 2))
            if x is not None:
                y = y + F.interpolate(self.lift[level](x), scale_factor=2.0, mode="nearest")
            x = self.refine[level](y)
        logits: Tensor = F.pixel_shuffle(self.head(x), 2)
        return logits
