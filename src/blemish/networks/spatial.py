"""The spatial encoder: a mask in, a few conditioning tokens out that say where the defect is."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish.errors import DependencyError

SpatialKind = Literal["small", "paper"]


def spatial_encoder(kind: SpatialKind, tokens: int, width: int) -> nn.Module:
    """Return a fresh encoder E of masks, shared by all defect types (AnomalyDiffusion, Eq. 6).

        e_s = E(m):  (B, 1, H, W) in {0, 1}  to  (B, tokens, width)

    Masks of any size; a token has mean square 1 at first. `small`: 2 M parameters. `paper`: ResNet-50
    with a feature pyramid, 335 M parameters for four tokens of width 1280.

    Raises:
        DependencyError: `paper` without torchvision.
    """
    return SmallSpatialEncoder(tokens, width) if kind == "small" else PyramidEncoder(tokens, width)


class SmallSpatialEncoder(nn.Module):
    """Four strided convolutions whose last map is read cell by cell, so that no position is lost.

    A cell of the 64 x 64 grid that they see holds the share of it that is covered, and whether any of
    it is: of a hairline the first is faint, of a blob the second is rough. Nothing is normalised before
    the tokens, or the area would be lost.
    """

    grid = 64

    def __init__(self, tokens: int = 4, width: int = 768) -> None:
        super().__init__()
        widths = (2, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [_halving(inputs, outputs), nn.SiLU()]
        cells = (self.grid // 2 ** (len(widths) - 1)) ** 2
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * cells, 256), nn.SiLU())
        self.head = nn.Linear(256, tokens * width)
        self.norm = nn.LayerNorm(width)

    def forward(self, mask: Tensor) -> Tensor:
        """Return the location tokens (B, tokens, width) of masks (B, 1, H, W) in {0, 1}."""
        covered = F.adaptive_avg_pool2d(mask, self.grid)
        touched = F.adaptive_max_pool2d(mask, self.grid)
        values = self.head(self.trunk(torch.cat([covered, touched], dim=1)))
        tokens: Tensor = self.norm(values.unflatten(1, (-1, self.norm.normalized_shape[0])))
        return tokens


class PyramidEncoder(nn.Module):
    """ResNet-50 features, fused by a feature pyramid, and one head a token (AnomalyDiffusion, 3.2).

    Trained from scratch. Groups take the place of the batch in its normalisation: the tokens of a mask
    do not depend on the other masks of the batch. Each head halves the finest level six times.
    """

    grid = 256
    levels = (256, 512, 1024)
    fused = 512

    def __init__(self, tokens: int = 4, width: int = 1280) -> None:
        super().__init__()
        try:
            from torchvision.models import resnet50
        except ImportError as error:
            raise DependencyError(
                "the paper's spatial encoder needs torchvision, which is not installed",
                hint="pip install 'blemish[paper]', or choose the small encoder",
            ) from error
        resnet = resnet50(weights=None, norm_layer=lambda channels: nn.GroupNorm(32, channels))
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.stages = nn.ModuleList([resnet.layer1, resnet.layer2, resnet.layer3])
        self.lateral = nn.ModuleList(nn.Conv2d(channels, self.fused, 1) for channels in self.levels)
        self.heads = nn.ModuleList(_head(self.fused, width) for _ in range(tokens))

    def forward(self, mask: Tensor) -> Tensor:
        """Return the location tokens (B, tokens, width) of masks (B, 1, H, W) in {0, 1}."""
        x = self.stem(2 * F.adaptive_avg_pool2d(mask, self.grid).expand(-1, 3, -1, -1) - 1)
        maps = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        finest = maps.pop()
        while maps:
            larger = maps.pop()
            size = larger.shape[-2:]
            finest = larger + F.interpolate(finest, size, mode="bilinear", align_corners=False)
        return torch.stack([head(finest) for head in self.heads], dim=1)


def _head(inputs: int, width: int) -> nn.Sequential:
    """Return what makes one token (B, width) of a map (B, inputs, 64, 64)."""
    layers: list[nn.Module] = []
    for channels in (inputs, *[width] * 5):
        layers += [_halving(channels, width), nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, width), nn.LayerNorm(width))


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a convolution that halves the grid and keeps the size of the signal.

    With PyTorch's own initial weights it shrinks at each layer: after six, all masks look alike.
    """
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
    nn.init.kaiming_normal_(convolution.weight)
    assert convolution.bias is not None  # noqa: S101 - built with a bias
    nn.init.zeros_(convolution.bias)
    return convolution
