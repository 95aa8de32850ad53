"""Painting into a photo: only the mask is new, all else stays the photo."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def blend(painted: Tensor, photo_at_same_noise: Tensor, mask: Tensor) -> Tensor:
    """Return what was painted inside the mask, the photo outside (AnomalyDiffusion, Eq. 1).

        x_{t-1} = p_theta(x_{t-1} | x_t, e) * m + q(y_{t-1} | y_0) * (1 - m)

    painted, photo_at_same_noise: (B, C, h, w), both at the same step: `add_noise` makes the second;
    mask: (B, 1, h, w) in [0, 1]. Where the mask is 0 the photo comes back bit for bit, where it is 1
    the painting.
    """
    return torch.lerp(photo_at_same_noise, painted, mask)


def mask_shrink(step: int, steps: int = 1000, most: int = 8) -> int:
    """Return by how many latent cells the mask grows at a step: `most` early, 0 at the end.

        radius = floor(1 + most * (t / T - 1 / 40))

    From the code of AnomalyDiffusion, which with T = 1000 and most = 8 has floor((t + 100) * 8 / 1000)
    and so 0 below t = 25. A thin mask gets room while the coarse shape of the defect forms, and is
    obeyed at the end. 8 is meant for a grid of 32 cells; 0 turns it off.
    """
    radius = 1 + most * (40 * step - steps) // (40 * steps)
    return min(max(radius, 0), most)


def dilate(mask: Tensor, radius: int) -> Tensor:
    """Return the mask grown by `radius` cells in all eight directions.

    mask: (B, 1, h, w) in {0, 1}. Radius 0 gives the mask itself.
    """
    return F.max_pool2d(mask, 2 * radius + 1, stride=1, padding=radius)


def to_latent(mask: Tensor, stride: int, share: float = 0.1) -> Tensor:
    """Return the mask on the latent grid: the cells of which at least `share` is defect.

    An image of whose mask no cell passes gets every cell that it touches: a mask that is not empty
    stays so, and an empty one empty. mask: (B, 1, H, W) in {0, 1} -> (B, 1, ceil(H / stride),
    ceil(W / stride)); cells that the border cuts count the pixels they have.
    """
    passes = F.avg_pool2d(mask, stride, ceil_mode=True) >= share
    touched = F.max_pool2d(mask, stride, ceil_mode=True) > 0
    found = passes.any(dim=(1, 2, 3), keepdim=True)
    return torch.where(found, passes, touched).to(mask.dtype)
