"""What normal looks like, patch by patch: a small set of ImageNet features of good photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 2048
_POOL = 20_000
_FLOOR = 0.05
_COMPARED, _PHOTOS = 6_000, 64
_SHRINKAGE = 0.1


class Novelty(nn.Module):
    """How far each place is from all that good photos have shown, by three memories.

    `near` and `sharp` remember patches by the features of strides 8 and 16, which tell places apart:
    near with their neighbours, which is surer, sharp without, which is finer. `wide` knows patches by
    those of stride 16 alone, with more of the surroundings, and sees what is large and faint: shading,
    in which good photos differ, too, so that it keeps plain distances.
    """

    def __init__(self, widths: Sequence[int], size: int = SIZE) -> None:
        """`widths`: channels at strides 8 and 16."""
        super().__init__()
        self.near = NormalMemory(widths, size)
        self.sharp = NormalMemory(widths, size, side=1)
        self.wide = NormalMemory(widths[1:], size)

    def fit(
        self, photos: Sequence[Sequence[Tensor]], families: Sequence[int], generator: torch.Generator
    ) -> None:
        """Fill the memories from good photos, and set their metrics and scales (`NormalMemory`)."""
        for memory, seen in self._each(photos):
            if memory is not self.wide:
                memory.measure(seen, families, generator)
            memory.fill(seen, families, generator)
            memory.standardise(seen, families)

    def fill(
        self, photos: Sequence[Sequence[Tensor]], families: Sequence[int], generator: torch.Generator
    ) -> None:
        """Fill the memories anew; metrics and scales stay."""
        for memory, seen in self._each(photos):
            memory.fill(seen, families, generator)

    def _each(
        self, photos: Sequence[Sequence[Tensor]]
    ) -> Iterator[tuple[NormalMemory, list[Sequence[Tensor]]]]:
        """Yield each memory with what it is shown of these photos."""
        coarse = [features[1:] for features in photos]
        yield from ((self.near, [*photos]), (self.sharp, [*photos]), (self.wide, coarse))

    def forward(self, features: Sequence[Tensor], own: Tensor | None = None) -> Tensor:
        """Return the novelty, float32 (B, 1, h, w) at stride 8; arguments as in `NormalMemory`.

        Near and sharp count half together, wide counts half.
        """
        near: Tensor = (self.near(features, own) + self.sharp(features, own)) / 2
        size = (near.shape[-2], near.shape[-1])
        wide = F.interpolate(self.wide(features[1:], own), size=size, mode="bilinear")
        return (near + wide) / 2


class NormalMemory(nn.Module):
    """How far each patch of a photo is from the nearest patch that a good photo has shown.

    The denoiser expects the mean of what is possible; where the normal look has several faces (grain,
    print, pose) the nearest of them is the better yardstick. The patches kept are a greedy k-centre
    subset (Roth et al. 2022, PatchCore, section 3.2): the rare ones are in it. Directions in which good
    photos differ from each other count for less, those in which they agree for more (`measure`).
    """

    metric: Tensor
    bank: Tensor
    owner: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, widths: Sequence[int], size: int = SIZE, side: int = 3) -> None:
        """`widths`: channels of the strides of a patch, the finest first; `side`: as in `patches`."""
        super().__init__()
        self.side = side
        self.register_buffer("metric", torch.eye(sum(widths)))
        self.register_buffer("bank", torch.zeros(size, sum(widths)))
        self.register_buffer("owner", torch.full((size,), -1))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def measure(
        self, photos: Sequence[Sequence[Tensor]], families: Sequence[int], generator: torch.Generator
    ) -> None:
        """Learn in which directions good patches differ from their like in photos of other families.

        photos: features of one photo each; families: a number for each, equal for photos of one part. A
        single family tells nothing, and plain distances stay.
        """
        self.metric.copy_(torch.eye(len(self.metric)))
        if len(set(families)) < 2:
            return
        pool, owner = self._some_patches(photos, families, _COMPARED, generator)
        looked_at = list(zip(families, photos, strict=True))[:_PHOTOS]
        differences = []
        for family, features in looked_at:
            some, _ = self._some_patches([features], [family], _COMPARED // len(looked_at), generator)
            others = pool[owner != family]
            differences.append(some - others[torch.cdist(some, others).argmin(1)])
        self.metric.copy_(within_metric(torch.cat(differences)))

    def fill(
        self, photos: Sequence[Sequence[Tensor]], families: Sequence[int], generator: torch.Generator
    ) -> None:
        """Choose the patches to keep from the features of good photos; arguments as in `measure`."""
        rows, owner = self._some_patches(photos, families, _POOL, generator)
        kept = k_centres(rows, len(self.bank))
        self.bank.copy_(rows[kept])
        self.owner.copy_(owner[kept])

    def _some_patches(
        self,
        photos: Sequence[Sequence[Tensor]],
        families: Sequence[int],
        count: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return at most `count` patches (N, C), as many of each photo, and their families (N,)."""
        each = max(1, count // len(photos))
        pool, owners = [], []
        for family, features in zip(families, photos, strict=True):
            rows = self._measured(features).flatten(1, 2)[0]
            chosen = torch.randperm(len(rows), generator=generator)[:each]
            pool.append(rows[chosen])
            owners.append(torch.full((len(chosen),), family))
        return torch.cat(pool), torch.cat(owners)

    def _measured(self, features: Sequence[Tensor]) -> Tensor:
        """Return the patches of photos under the metric, float32 (B, h, w, C)."""
        found: Tensor = patches(features, self.side).permute(0, 2, 3, 1) @ self.metric
        return found.float()

    def standardise(self, photos: Sequence[Sequence[Tensor]], families: Sequence[int]) -> None:
        """Set the scale: distances of good photos to *other* families get mean 0 and variance 1.

        Arguments as in `measure`.
        """
        raw = [
            self._log_distance(features, torch.tensor([family]))
            for family, features in list(zip(families, photos, strict=True))[:_PHOTOS]
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
        return (self._log_distance(features, own) - self.centre) / self.spread

    def _log_distance(self, features: Sequence[Tensor], own: Tensor | None) -> Tensor:
        """Return log(0.05 + ||patch - nearest||^2 / C), image by image: the products stay in cache.

            ||p - b||^2 = ||p||^2 - 2 * (p b - ||b||^2 / 2)

        The product and the subtraction are one matrix product in the autocast's number format: the
        constant joins it as three columns that are exact in any format. The other sums are float32.
        """
        measured = self._measured(features)
        batch, height, breadth, width = measured.shape
        rows = measured.flatten(1, 2)
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


def within_metric(differences: Tensor) -> Tensor:
    """Return the linear map under which such differences have no favourite direction, (C, C).

        (Sigma + shrinkage * mean eigenvalue * 1)^(-1/2), scaled to keep the trace of Sigma

    Sigma: mean of d d^T, the covariance within a class of Hatch et al. 2006 (WCCN), a class being a
    patch and its nearest in other photos. Euclidean distances under the map are Mahalanobis distances.
    differences: (N, C); where all are 0 the map is the identity.
    """
    covariance = differences.T @ differences / len(differences)
    values, axes = torch.linalg.eigh(covariance.double())
    total = values.sum()
    if total <= 0:
        return torch.eye(len(covariance))
    values = values.clamp_min(0)
    inverse = (values + _SHRINKAGE * values.mean()).rsqrt()
    scale = (total / (values * inverse.square()).sum()).sqrt()
    found: Tensor = scale * (axes * inverse) @ axes.T
    return found.float()


def exact_parts(values: Tensor) -> Tensor:
    """Return float32 numbers (N, 1) as sums of three that bfloat16 holds exactly, (N, 3)."""
    high = values.bfloat16().float()
    middle = (values - high).bfloat16().float()
    return torch.cat([high, middle, values - high - middle], dim=1)


def patches(features: Sequence[Tensor], side: int) -> Tensor:
    """Return patch features (B, sum of C, h, w) on the finest grid: means over side x side cells."""
    fine, *coarse = (F.avg_pool2d(x.float(), side, 1, side // 2) for x in features)
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
