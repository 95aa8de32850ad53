"""The exact denoiser of a small set of patches: what a network would learn of them, without learning.

The best guess of a clean picture that is known to be made of a few patches needs no training: it is
the mean of those patches, each weighted by how well it explains what is seen (Kamb and Ganguli 2024).
The more noise, the larger the neighbourhood that has a say; so the patches shrink as the noise falls.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_QUERIES = 2048
"""How many cells are compared with all patches at a time, so that memory stays small."""


class Patches(NamedTuple):
    """What is known: the surroundings of N cells, and what is in the middle of each.

    looks: (N, D), the patches; traits: (N, K), facts that are known without noise, scaled so that a
    difference of 1 counts as one standard deviation; centres: (N, C).
    """

    looks: Tensor
    traits: Tensor
    centres: Tensor


def surroundings(picture: Tensor, side: int) -> Tensor:
    """Return the square of `side` cells around every cell, (H W, C side^2); mirrored at the border.

    picture: (1, C, H, W), each side longer than half a patch; side: odd.
    """
    padded = F.pad(picture, (side // 2,) * 4, mode="reflect")
    return F.unfold(padded, side)[0].T


def patch_posterior(
    looks: Tensor, precision: Tensor, traits: Tensor, known: Patches, *, mode: bool = False
) -> Tensor:
    """Return the expected clean value of each cell, (M, C) (Kamb and Ganguli 2024, the local case).

        log w_i = -1/2 sum_d p_d (q_d - P_id)^2 - 1/2 |e - E_i|^2 + const,   x = sum_i w_i c_i

    looks: (M, D), what is seen around each cell, free of the signal's factor sqrt(alpha_bar);
    precision: (M, D), 1 / variance of each number in it; traits: (M, K), as in `known`. mode: the value
    of the likeliest patch in place of the mean: where hardly any noise is left, a mean of several would
    only blur. With one patch that is what comes back.
    """
    flat = torch.cat([known.looks, known.looks.square(), known.traits], dim=1).T.contiguous()
    constant = known.traits.square().sum(1) / 2
    found = []
    for start in range(0, len(looks), _QUERIES):
        part = slice(start, start + _QUERIES)
        weight = precision[part]
        query = torch.cat([weight * looks[part], -weight / 2, traits[part]], dim=1)
        scores = query @ flat - constant
        if mode:
            found.append(known.centres[scores.argmax(1)])
        else:
            found.append(scores.softmax(1) @ known.centres)
    return torch.cat(found) if found else known.centres[:0]
