"""What normal looks like, patch by patch: a small set of ImageNet features of good photos."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 2048
_POOL = 20_000
_FLOOR = 0.05


class Novelty(nn.Module):
    """How far each place is from all that good photos have shown: the mean of two memories.

    One remembers patches by the features of strides 8 and 16, which tell places apart; the other by
    those of stride 16 alone, which know more of the surroundings and see what is large and faint.
    """

    def __init__(self, widths: Sequence[int], size: int = SIZE) -> None:
        """`widths`: channels at strides 8 and 16."""
        super().__init__()
        self.memories = nn.ModuleList([NormalMemory(widths, size), NormalMemory(widths[1:], size)])

    def fit(
        self, photos: Sequence[Sequence[Tensor]], families: Sequence[int], generator: torch.Generator
    ) -> None:
        """Fill both memories from the features of good photos and set their scales (`NormalMemory`)."""
        self.fill(photos, families, generator)
        for skipped, memory in enumerate(self.memories):
            assert isinstance(memory, NormalMemory)  # noqa: S101 - built above
            memory.standardise([features[skipped:] for features in photos], families)

    def fill(
        self, photos: Sequence[Sequence[Tensor]], families: Sequence[int], generator: torch.Generator
    ) -> None:
        """Fill both memories anew; the scales stay."""
        for skipped, memory in enumerate(self.memories):
            assert isinstance(memory, NormalMemory)  # noqa: S101 - built above
            memory.fill([features[skipped:] for features in photos], families, generator)

    def forward(self, features: Sequence[Tensor], own: Tensor | None = None) -> Tensor:
        """Return the novelty, float32 (B, 1, h, w) at stride 8; arguments as in `NormalMemory`."""
        near, wide = (memory(features[skipped:], own) for skipped, memory in enumerate(self.memories))
        wide = F.interpolate(wide, size=(near.shape[-2], near.shape[-1]), mode="bilinear")
        novelty: Tensor = (near + wide) / 2
        return novelty


class NormalMemory(nn.Module):
    """How far each patch of a photo is from the nearest patch that a good photo has shown.

    The denoiser expects the mean of what is possible; where the normal look has several faces (grain,
    print, pose) the nearest of them is the better yardstick. The patches kept are a greedy k-centre
    subset (Roth et al. 2022, PatchCore, section 3.2): the rare ones are in it.
    """

    bank: Tensor
    owner: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, widths: Sequence[int], size: int = SIZE) -> None:
        """`widths`: channels of the strides that make a patch, the finest first."""
        super().__init__()
        self.register_buffer("bank", torch.zeros(size, sum(widths)))
        self.register_buffer("owner", torch.full((size,), -1))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def fill(
        self, photos: Sequence[Sequence[Tensor]], families: Sequence[int], generator: torch.Generator
    ) -> None:
        """Choose the patches to keep from the features of good photos.

        photos: features of one photo each; families: a number for each, equal for photos of one part.
        """
        each = max(1, _POOL // len(photos))
        pool, owners = [], []
        for family, features in zip(families, photos, strict=True):
            rows = patches(features)[0].flatten(1).T
            chosen = torch.randperm(len(rows), generator=generator)[:each]
            pool.append(rows[chosen])
            owners.append(torch.full((len(chosen),), family))
        rows, owner = torch.cat(pool), torch.cat(owners)
        kept = k_centres(rows, len(self.bank))
        self.bank.copy_(rows[kept])
        self.owner.copy_(owner[kept])

    def standardise(self, photos: Sequence[Sequence[Tensor]], families: Sequence[int]) -> None:
        """Set the scale: distances of good photos to *other* families get mean 0 and variance 1.

        Arguments as in `fill`.
        """
        raw = [
            self._log_distance(patches(features), torch.tensor([family]))
            for family, features in list(zip(families, photos, strict=True))[:64]
        ]
        spread, centre = torch.std_mean(torch.cat([values.flatten() for values in raw]))
        self.centre.copy_(centre)
        self.spread.copy_(spread)

    def forward(self, features: Sequence[Tensor], own: Tensor | None = None) -> Tensor:
        """Return the standardised log distance of each patch, float32 (B, 1, h, w) on the finest grid.

        features: at the strides of `widths`. own: int64 (B,), the families of photos in `fill`: such a
        photo is not compared with patches of its own family; None or -1 compares with all, and so does
        a photo whose family is the only one remembered.
        """
        return (self._log_distance(patches(features), own) - self.centre) / self.spread

    def _log_distance(self, patch: Tensor, own: Tensor | None) -> Tensor:
        """Return log(0.05 + ||patch - nearest||^2 / C), image by image: the products stay in cache.

            ||p - b||^2 = ||p||^2 - 2 * (p b - ||b||^2 / 2)

        The product and the subtraction are one matrix product in the autocast's number format: the
        constant joins it as three columns that are exact in any format. The other sums are float32.
        """
        batch, width, height, breadth = patch.shape
        rows = patch.permute(0, 2, 3, 1).reshape(batch, height * breadth, width)
        bank = torch.cat([self.bank, exact_parts(-self.bank.square().sum(1, keepdim=True) / 2)], dim=1)
        ones = torch.ones(height * breadth, 3, device=rows.device)
        most = []
        for index, row in enumerate(rows):
            others = bank if own is None else bank[self.owner != own[index]]
            others = others if len(others) else bank
            most.append(torch.matmul(torch.cat([row, ones], dim=1), others.T).amax(1))
        squared = rows.square().sum(2) - 2 * torch.stack(most).float()
        nearest = squared.clamp_min(0).view(batch, 1, height, breadth)
        return torch.log(nearest / width + _FLOOR)


def exact_parts(values: Tensor) -> Tensor:
    """Return float32 numbers (N, 1) as sums of three that bfloat16 holds exactly, (N, 3)."""
    high = values.bfloat16().float()
    middle = (values - high).bfloat16().float()
    return torch.cat([high, middle, values - high - middle], dim=1)


def patches(features: Sequence[Tensor]) -> Tensor:
    """Return patch features (B, sum of C, h, w) on the finest grid, each with its neighbours."""
    fine, *coarse = (F.avg_pool2d(x.float(), 3, 1, 1) for x in features)
    size = (fine.shape[-2], fine.shape[-1])
    return torch.cat([fine, *(F.interpolate(x, size=size, mode="bilinear") for x in coarse)], dim=1)


def k_centres(rows: Tensor, count: int) -> Tensor:
    """Return the indices of `count` rows (N, C), each the farthest from all chosen before it.

    The greedy k-centre subset of PatchCore (Roth et al. 2022, section 3.2).

    Starts at row 0; with fewer rows than asked for, the indices repeat.
    """
    squares = rows.square().sum(1)
    nearest = torch.full((len(rows),), torch.inf)
    chosen = [0]
    for _ in range(min(count, len(rows)) - 1):
        last = chosen[-1]
        nearest = torch.minimum(nearest, squares + squares[last] - 2 * (rows @ rows[last]))
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)[torch.arange(count) % len(chosen)]
