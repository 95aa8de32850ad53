"""Our segmentation network: it compares a photo with its reconstruction in pixels and in features."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish.networks.denoiser import normalisation

GROUPS = 8
PRIOR = -3.0
"""The head's first bias: defects are rare, so the first maps are dark."""

_NOVELTY_LEVEL = 2


def refinement(width: int, convolutions: int) -> nn.Sequential:
    """Return convolutions of one width, normalised in groups: no image sees its neighbours."""
    layers: list[nn.Module] = [normalisation(width, GROUPS), nn.SiLU()]
    for _ in range(convolutions):
        layers += [
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            normalisation(width, GROUPS),
            nn.SiLU(),
        ]
    return nn.Sequential(*layers)


def log_distance(difference: Tensor) -> Tensor:
    """Return how far features are from the expected ones, float32 (B, 1, h, w), on a log scale.

        log(0.1 + mean over channels and a 3 x 3 neighbourhood of difference^2)

    difference: (B, C, h, w), standardised.
    """
    squared = difference.float().square().mean(dim=1, keepdim=True)
    return torch.log(F.avg_pool2d(squared, 3, 1, 1) + 0.1)


class Comparator(nn.Module):
    """Marks the pixels where a photo is not what the reconstruction expects.

    A feature pyramid from stride 16 down to stride 2. At each stride the photo's features and their
    difference to the expected ones enter through 1x1 convolutions and are summed (a sum of
    convolutions is the convolution of the concatenation, without the copy), and so does the length
    of that difference, which marks the unexpected without having seen its like; at stride 2 the two
    pictures enter as well. Group normalisation: no image sees its neighbours.
    """

    def __init__(self, features: Sequence[int], width: int = 32) -> None:
        """`features`: channels at strides 2, 4, 8, 16."""
        super().__init__()
        widths = [width, 2 * width, 3 * width, 4 * width]
        self.photo = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(features, widths, strict=True))
        self.difference = nn.ModuleList(
            nn.Conv2d(c, w, 1, bias=False) for c, w in zip(features[1:], widths[1:], strict=True)
        )
        self.distance = nn.ModuleList(nn.Conv2d(1, w, 1, bias=False) for w in widths[1:])
        self.novelty = nn.Conv2d(1, widths[2], 1, bias=False)
        self.lift = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in itertools.pairwise(widths)
        )
        self.pixels = nn.Conv2d(6 * 4, width, 1, bias=False)
        self.refine = nn.ModuleList(refinement(w, 1 if w == width else 2) for w in widths)
        self.head = nn.Conv2d(width, 4, 3, padding=1)
        nn.init.constant_(self.head.bias, PRIOR)  # type: ignore[arg-type]

    def forward(
        self,
        photo: Tensor,
        reconstruction: Tensor,
        features: Sequence[Tensor],
        expected: Sequence[Tensor],
        novelty: Tensor,
    ) -> Tensor:
        """Return logits (B, 1, H, W).

        photo, reconstruction: (B, 3, H, W) in [0, 1]; features: of the photo at strides 2, 4, 8, 16;
        expected: of the normal look at strides 4, 8, 16; novelty: standardised distance from all
        that good photos have shown, (B, 1, H/8, W/8).
        """
        x: Tensor | None = None
        for level in (3, 2, 1, 0):
            y = self.photo[level](features[level])
            if level > 0:
                difference = features[level] - expected[level - 1]
                y = y + self.difference[level - 1](difference)
                y = y + self.distance[level - 1](log_distance(difference).to(y.dtype))
            else:
                y = y + self._compare_pixels(photo, reconstruction, y.dtype)
            if level == _NOVELTY_LEVEL:
                y = y + self.novelty(novelty.to(y.dtype))
            if x is not None:
                y = y + F.interpolate(self.lift[level](x), scale_factor=2.0, mode="nearest")
            x = self.refine[level](y)
        logits: Tensor = F.pixel_shuffle(self.head(x), 2)
        return logits

    def _compare_pixels(self, photo: Tensor, reconstruction: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a linear function of each 2 x 2 pixels of both pictures, on the grid of stride 2."""
        pictures = torch.cat([photo.to(dtype), reconstruction.to(dtype)], dim=1)
        weight = self.pixels.weight
        return F.conv2d(pictures, weight.view(len(weight), -1, 2, 2), stride=2)
