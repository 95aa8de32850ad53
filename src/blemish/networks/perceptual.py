"""LPIPS: how different two pictures look, by the features of VGG16 and learned weights of channels."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish.errors import ArtifactError, DependencyError
from blemish.networks.published import Published, find_weights, read_weights
from blemish.synthesis.arrays import Image

Distances: TypeAlias = npt.NDArray[np.float64]

VGG16 = Published(
    "VGG16",
    ("vgg16.safetensors", "vgg16.pth", "vgg16-397923af.pth"),
    "https://download.pytorch.org/models/vgg16-397923af.pth",
)
_WIDTHS: tuple[tuple[int, ...], ...] = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
# Zhang et al. 2018, their package: mean and deviation of ImageNet for pictures in [-1, 1]
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_TINY = 1e-10


class Perceptual(nn.Module):
    """LPIPS with VGG16, frozen (Zhang et al. 2018, version 0.1).

        d(x, y) = sum_l mean_hw sum_c w_lc (x_lchw - y_lchw)^2

    x_l: features after the last layer of each of VGG16's five blocks, of length 1 at each place.
    """

    def __init__(self, trunk: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        """`trunk`: VGG16's tensors by torchvision's names; `heads`: those of the package `lpips`.

        Raises:
            ArtifactError: tensors are missing, or of other shapes.
        """
        super().__init__()
        layers: list[nn.Module] = []
        self.taps = []
        inputs = 3
        with torch.device("meta"):  # weights of its own would be drawn only to be replaced
            for block in _WIDTHS:
                layers += [nn.MaxPool2d(2)] if layers else []
                for width in block:
                    layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                    inputs = width
                self.taps.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        start = "features."
        own = {k.removeprefix(start): v.float() for k, v in trunk.items() if k.startswith(start)}
        try:
            self.features.load_state_dict(own, assign=True)
            for level, block in enumerate(_WIDTHS):
                head = heads[f"lin{level}.model.1.weight"].float().reshape(1, block[-1], 1, 1)
                self.register_buffer(f"head{level}", head)
        except (KeyError, RuntimeError) as error:
            raise ArtifactError(
                f"these are not the weights of LPIPS with VGG16: {error}",
                hint="VGG16's as torchvision names them, and those of `pip install lpips`",
            ) from error
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))
        self.requires_grad_(False)

    @classmethod
    def load(cls, weights: Path | None = None, device: torch.device | None = None) -> Self:
        """Return the network with VGG16's weights from a file or folder, None = where they may lie.

        Raises:
            ArtifactError: there are none (see `find_weights`), or they are damaged.
            DependencyError: the package that brings the weights of the channels is not installed.
        """
        trunk = read_weights(find_weights(VGG16, weights))
        return cls(trunk, read_weights(_heads_path())).to(device)

    def look(self, pictures: Tensor) -> list[Tensor]:
        """Return the five levels of features of pictures (B, 3, H, W) in [-1, 1]."""
        levels = []
        x = (pictures - self.get_buffer("shift")) / self.get_buffer("scale")
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.taps:
                levels.append(x / (x.norm(dim=1, keepdim=True) + _TINY))
        return levels

    def apart(self, some: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
        """Return the distances (B,) between pictures of which `look` has seen the features."""
        parts = [
            (self.get_buffer(f"head{level}") * (one - other).square()).sum(1).mean((1, 2))
            for level, (one, other) in enumerate(zip(some, others, strict=True))
        ]
        return torch.stack(parts).sum(0)

    def forward(self, some: Tensor, others: Tensor) -> Tensor:
        """Return the distances (B,) between pictures (B, 3, H, W) in [-1, 1]."""
        return self.apart(self.look(some), self.look(others))


def distances_to(
    network: Perceptual, pictures: Sequence[Image], real: Sequence[Image], side: int = 256
) -> Distances:
    """Return the distances (n, k) of n pictures to k real ones, each resized to a square of `side`.

    pictures, real: uint8 (H, W, 3), of any sizes.
    """
    known = list(_seen(network, real, side))
    seen = _seen(network, pictures, side)
    rows = [[float(network.apart(picture, one)) for one in known] for picture in seen]
    return np.array(rows, np.float64).reshape(len(pictures), len(real))


def distances_within(
    network: Perceptual, pictures: Sequence[Image], owner: npt.NDArray[np.intp], side: int = 256
) -> Distances:
    """Return the distances (n, n) between pictures of the same cluster; NaN between two clusters.

    pictures: uint8 (H, W, 3), of any sizes, each resized to a square of `side`; owner: (n,), the
    cluster of each. The features of one cluster at a time are kept: 31 MB a picture of 256 x 256.
    """
    found = np.full((len(pictures), len(pictures)), np.nan)
    for cluster in np.unique(owner):
        members = np.flatnonzero(owner == cluster)
        seen = list(_seen(network, [pictures[int(i)] for i in members], side))
        for a, i in enumerate(members):
            found[i, i] = 0
            for b, j in enumerate(members[:a]):
                found[i, j] = found[j, i] = float(network.apart(seen[a], seen[b]))
    return found


def _seen(network: Perceptual, pictures: Sequence[Image], side: int) -> Iterator[list[Tensor]]:
    """Yield the features of each picture."""
    where = network.get_buffer("shift").device
    for picture in pictures:
        x = torch.from_numpy(np.array(picture)).to(where).permute(2, 0, 1)[None].float() / 127.5 - 1
        yield network.look(F.interpolate(x, (side, side), mode="bilinear", antialias=True))


def _heads_path() -> Path:
    """Return the file of the package `lpips` with the weights of the channels."""
    # found without an import: the package would bring torchvision's models along
    spec = importlib.util.find_spec("lpips")
    if spec is None or spec.origin is None:
        raise DependencyError(
            "the package lpips, which brings the weights of LPIPS, is not installed",
            hint="pip install 'blemish[metrics]'",
        )
    return Path(spec.origin).with_name("weights") / "v0.1" / "vgg.pth"
