"""Which mirror images and turns of a photo are photos that the line could have taken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from blemish.config import Turn
from blemish.networks.encoder import LiteEncoder

Plane = npt.NDArray[np.generic]

TURNS: dict[Turn, Callable[[Plane], Plane]] = {
    "mirror": lambda plane: plane[:, ::-1],
    "flip": lambda plane: plane[::-1],
    "half_turn": lambda plane: plane[::-1, ::-1],
    "quarter_turn": lambda plane: np.rot90(plane),
    "three_quarter_turn": lambda plane: np.rot90(plane, 3),
    "transpose": lambda plane: plane.swapaxes(0, 1),
    "anti_transpose": lambda plane: np.rot90(plane, 2).swapaxes(0, 1),
}

TOLERANCE = 1.25
"""A turned photo may be this much farther from its nearest other photo than the photo itself is."""

_GRID = 8


def symmetries(squares: npt.NDArray[np.uint8], encoder: LiteEncoder) -> tuple[Turn, ...]:
    """Return the turns under which these good squares look like each other.

        mean_i min_{j != i} D(turn(x_i), x_j)  <=  1.25 * mean_i min_{j != i} D(x_i, x_j)

    D: mean distance of ImageNet features at the places of an 8 x 8 grid. So a biscuit that lies anyhow
    may be turned, a label that is always upright may not; nobody has to say which. squares: uint8
    (N, S, S, 3), N >= 3 (fewer give no turns).
    """
    if len(squares) < 3:
        return ()
    plain = places(squares, encoder)
    apart = torch.eye(len(plain), dtype=torch.bool)
    nearest = _distances(plain, plain).masked_fill(apart, torch.inf).amin(1).mean()

    def fits(turn: Callable[[Plane], Plane]) -> bool:
        turned = places(np.stack([turn(square) for square in squares]), encoder)
        away = _distances(turned, plain).masked_fill(apart, torch.inf).amin(1).mean()
        return bool(away <= TOLERANCE * nearest)

    return tuple(name for name, turn in TURNS.items() if fits(turn))


def places(squares: npt.NDArray[np.uint8], encoder: LiteEncoder) -> torch.Tensor:
    """Return ImageNet features (N, 64, C) at the places of an 8 x 8 grid on each square."""
    found = []
    with torch.no_grad():
        for part in torch.split(torch.from_numpy(squares), 16):
            deepest = encoder(part.permute(0, 3, 1, 2).float() / 255)[-1]
            found.append(F.adaptive_avg_pool2d(deepest.float(), _GRID).flatten(2).transpose(1, 2))
    return torch.cat(found)


def _distances(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return D between every two photos: (N, places, C) and (M, places, C) to (N, M)."""
    return torch.cdist(some.transpose(0, 1), others.transpose(0, 1)).mean(0)
