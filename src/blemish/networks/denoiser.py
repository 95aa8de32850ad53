"""The reconstruction network: a time-conditioned U-Net in the style of ADM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def time_features(step: Tensor, width: int) -> Tensor:
    """Return sinusoidal features of the diffusion step: (B,) to float32 (B, width)."""
    half = width // 2
    frequency = torch.exp(-math.log(10_000) * torch.arange(half, device=step.device) / half)
    angle = step.float()[:, None] * frequency[None]
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def normalisation(width: int, groups: int) -> nn.GroupNorm:
    """Return group normalisation, which never mixes the images of a batch."""
    return nn.GroupNorm(math.gcd(groups, width), width)


def folded(x: Tensor, patch: int) -> Tensor:
    """Return patches of pixels as channels, as `pixel_unshuffle` does: (B, C p p, H/p, W/p).

    In channels_last at once, where that would take another copy.
    """
    batch, channels, height, width = x.shape
    cells = x.view(batch, channels, height // patch, patch, width // patch, patch)
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(3).permute(0, 3, 1, 2)


def resample(x: Tensor, direction: str) -> Tensor:
    """Return features on half the grid (`down`, mean), twice the grid (`up`), or as they are."""
    if direction == "down":
        return F.avg_pool2d(x, 2)
    if direction == "up":
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    return x


class ResidualBlock(nn.Module):
    """Two convolutions around the time embedding, optionally resampled inside (BigGAN)."""

    def __init__(
        self, inputs: int, outputs: int, embedding: int, groups: int, resample: str = "none"
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm_in = normalisation(inputs, groups)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(embedding, outputs)
        self.norm_out = normalisation(outputs, groups)
        self.conv_out = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(_bias(self.conv_out))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return features (B, outputs, h, w) of features (B, inputs, h, w)."""
        y = self.conv_in(resample(F.silu(self.norm_in(x)), self.resample))
        y = y + self.time(embedding)[:, :, None, None]
        y = self.conv_out(F.silu(self.norm_out(y)))
        return torch.add(self.shortcut(resample(x, self.resample)), y)


class SelfAttention(nn.Module):
    """Multi-head attention over all positions of a feature map, added to it."""

    def __init__(self, width: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = normalisation(width, groups)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(_bias(self.out))

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape, (B, width, h, w)."""
        batch, width, height, breadth = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, 3, self.heads, width // self.heads, height * breadth)
        query, key, value = qkv.transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(-1, -2).reshape(batch, width, height, breadth)
        return torch.add(x, self.out(mixed))


class Stage(nn.Module):
    """A residual block, followed by attention where the resolution asks for it."""

    def __init__(self, block: ResidualBlock, attention: SelfAttention | None = None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return the block's features."""
        x = self.block(x, embedding)
        return x if self.attention is None else self.attention(x)


class Resample(nn.Module):
    """Halves or doubles the grid without weights: the cheap stand-in for a resampling block."""

    def __init__(self, direction: str) -> None:
        super().__init__()
        self.direction = direction

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        """Return features on the other grid."""
        return resample(x, self.direction)


@dataclass(frozen=True)
class _Parts:
    """Makes the stages of one U-Net."""

    embedding: int
    groups: int
    heads: int
    attention: frozenset[int]
    resampling_blocks: bool

    def block(self, inputs: int, outputs: int, direction: str = "none") -> ResidualBlock:
        return ResidualBlock(inputs, outputs, self.embedding, self.groups, direction)

    def stage(self, inputs: int, outputs: int, grid: int) -> Stage:
        attends = grid in self.attention
        attention = SelfAttention(outputs, self.heads, self.groups) if attends else None
        return Stage(self.block(inputs, outputs), attention)

    def resampler(self, width: int, direction: str) -> nn.Module:
        if self.resampling_blocks:
            return Stage(self.block(width, width, direction))
        return Resample(direction)


def _encoder(
    parts: _Parts, widths: Sequence[int], blocks: int, grid: int
) -> tuple[nn.ModuleList, list[int]]:
    """Return the stages on the way down, and the width of every feature map kept for the way up."""
    stages = nn.ModuleList()
    current = widths[0]
    kept = [current]
    for level, width in enumerate(widths):
        if level > 0:
            stages.append(parts.resampler(current, "down"))
            kept.append(current)
        for _ in range(blocks):
            stages.append(parts.stage(current, width, grid >> level))
            current = width
            kept.append(current)
    return stages, kept


def _decoder(
    parts: _Parts, widths: Sequence[int], blocks: int, grid: int, kept: list[int] | None
) -> nn.ModuleList:
    """Return the stages on the way up; each takes a kept feature map beside its input."""
    stages = nn.ModuleList()
    current = widths[-1]
    skips = list(kept) if kept else []
    for level, width in reversed(list(enumerate(widths))):
        for _ in range(blocks + 1):
            stages.append(parts.stage(current + (skips.pop() if skips else 0), width, grid >> level))
            current = width
        if level > 0:
            stages.append(parts.resampler(current, "up"))
    return stages


class Denoiser(nn.Module):
    """Predicts the noise, or the clean image, of a noisy image at a given step.

    An ADM U-Net (DiffusionAD, section 4.1): `blocks` residual blocks a level on the way down and one
    more on the way up, attention at the given grid sizes and in the middle, resampling inside
    residual blocks, zero-initialised last convolutions. `patch` > 1 folds patch x patch pixels into
    channels first (pixel-unshuffle), which removes the costly full-resolution levels. `skips=False`
    cuts the connections from encoder to decoder: the autoencoder of the paper's ablation.
    `resampling_blocks=False` changes the grid without convolutions. `side_channels` are predicted
    beside the picture, on the grid of its patches.
    """

    def __init__(
        self,
        size: int,
        width: int = 128,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 2,
        attention: Sequence[int] = (32, 16, 8),
        heads: int = 4,
        groups: int = 32,
        patch: int = 1,
        skips: bool = True,
        resampling_blocks: bool = True,
        side_channels: int = 0,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.skips = skips
        self.width = width
        self.channels = 3 * patch * patch
        embedding = 4 * width
        parts = _Parts(embedding, groups, heads, frozenset(attention), resampling_blocks)
        widths = [width * multiplier for multiplier in multipliers]
        self.time = nn.Sequential(
            nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.stem = nn.Conv2d(self.channels, width, 3, padding=1)
        self.down, kept = _encoder(parts, widths, blocks, size // patch)
        deepest = widths[-1]
        self.middle = nn.ModuleList(
            [
                Stage(parts.block(deepest, deepest), SelfAttention(deepest, heads, groups)),
                Stage(parts.block(deepest, deepest)),
            ]
        )
        self.up = _decoder(parts, widths, blocks, size // patch, kept if skips else None)
        self.norm = normalisation(widths[0], groups)
        self.head = nn.Conv2d(widths[0], self.channels, 3, padding=1)
        self.side = nn.Conv2d(widths[0], side_channels, 1) if side_channels else None
        for layer in filter(None, (self.head, self.side)):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(_bias(layer))

    def forward(self, noisy: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prediction (B, 3, H, W) and the side output (B, side_channels, H/p, W/p).

        noisy: (B, 3, H, W); step: int64 (B,).
        """
        embedding = self.time(time_features(step, self.width))
        x = folded(noisy, self.patch) if self.patch > 1 else noisy
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        kept = [x]
        for stage in self.down:
            x = stage(x, embedding)
            kept.append(x)
        for stage in self.middle:
            x = stage(x, embedding)
        for stage in self.up:
            if self.skips and not _resamples(stage):
                x = torch.cat([x, kept.pop()], dim=1)
            x = stage(x, embedding)
        x = F.silu(self.norm(x))
        picture = self.head(x)
        side = x[:, :0] if self.side is None else self.side(x)
        return (F.pixel_shuffle(picture, self.patch) if self.patch > 1 else picture), side


def _resamples(stage: nn.Module) -> bool:
    return isinstance(stage, Resample) or (isinstance(stage, Stage) and stage.block.resample != "none")


def _bias(layer: nn.Conv2d) -> Tensor:
    bias = layer.bias
    assert bias is not None  # noqa: S101 - every convolution of this file is built with a bias
    return bias
