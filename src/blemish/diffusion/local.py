"""The exact denoiser of a small set of patches: what a network would learn of them, without learning.

The best guess of a clean picture that is known to be made of a few patches needs no training: it is
the mean of those patches, each weighted by how well it explains what is seen (Kamb and Ganguli 2024).
The more noise, the larger the neighbourhood that has a say; so the patches shrink as the noise falls.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_QUERIES = 2048
"""How many cells are compared with all patches at a time, so that memory stays small."""


class Patches:
    """What is known: the surroundings of N cells, and what is in the middle of each.

    looks: (N, C, A), the patches of A cells; traits: (N, K), facts that are known without noise, scaled
    so that a difference of 1 counts as one standard deviation; centres: (N, C).
    """

    def __init__(self, looks: Tensor, traits: Tensor, centres: Tensor) -> None:
        powers = looks.square().sum(1)
        self.flat = torch.cat([looks.flatten(1), powers, traits], dim=1).T.contiguous()
        self.constant = traits.square().sum(1) / 2
        self.centres = centres


def surroundings(picture: Tensor, side: int) -> Tensor:
    """Return the square of `side` cells around every cell, (H W, C, side^2); mirrored at the border.

    picture: (1, C, H, W), each side longer than half a patch; side: odd.
    """
    padded = F.pad(picture, (side // 2,) * 4, mode="reflect")
    return F.unfold(padded, side)[0].T.reshape(-1, picture.shape[1], side**2)


def patch_posterior(
    looks: Tensor, precision: Tensor, traits: Tensor, known: Patches, *, mode: bool = False
) -> Tensor:
    """Return the expected clean value of each cell, (M, C) (Kamb and Ganguli 2024, the local case).

        log w_i = -1/2 sum_a p_a sum_c (q_ca - P_ica)^2 - 1/2 |e - E_i|^2 + const,   x = sum_i w_i c_i

    looks: (M, C, A), what is seen around each cell, free of the signal's factor sqrt(alpha_bar);
    precision: (M, A), 1 / variance of each cell of it; traits: (M, K), as in `known`. mode: the value
    of the likeliest patch in place of the mean: where hardly any noise is left, a mean of several would
    only blur. With one patch that is what comes back.
    """
    found = []
    for start in range(0, len(looks), _QUERIES):
        part = slice(start, start + _QUERIES)
        weight = precision[part]
        seen = (weight[:, None] * looks[part]).flatten(1)
        scores = torch.cat([seen, -weight / 2, traits[part]], dim=1) @ known.flat - known.constant
        if mode:
            found.append(known.centres[scores.argmax(1)])
        else:
            found.append(scores.softmax(1) @ known.centres)
    return torch.cat(found) if found else known.centres[:0]
