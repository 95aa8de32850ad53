"""Noise that a photo's own content chooses, so that the same photo always gets the same score."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from blemish.randomness import generator

_MARGIN = 256
_LIGHT, _ODD = 16, 32
"""Multipliers stay so small that 32-bit floats hold every sum exactly: some runtimes add in them."""


class NoiseField(nn.Module):
    """Noise for squares: one Gaussian field, drawn once, and a window of it that the pixels choose.

    The window's corner is a hash of all pixels. It is integer arithmetic and nothing else, so that an
    exported graph finds the same one:

        corner_k = sum_y b_ky * (sum_x,c a_xc * photo_yxc mod 256) mod 256,    b odd, a >= 1
    """

    field: Tensor
    across: Tensor
    down: Tensor

    def __init__(self, size: int) -> None:
        """`size`: the square's side, at most 1024."""
        super().__init__()
        self.size, self.side = size, size + _MARGIN
        drawn = torch.randn(2, 3, self.side, self.side, generator=generator(0, "inference noise"))
        words = generator(0, "inference windows")
        across = 1 + torch.randint(_LIGHT - 1, (3 * size,), generator=words, dtype=torch.int32)
        down = 1 + 2 * torch.randint(_ODD, (4, size), generator=words, dtype=torch.int32)
        for name, value in (("field", drawn), ("across", across), ("down", down)):
            self.register_buffer(name, value, persistent=False)

    def corners(self, photo: Tensor) -> Tensor:
        """Return top and left of the fine and of the anchor step's window, int32 (B, 4) in [0, 255]."""
        rows = (photo.flatten(2).int() * self.across).sum(2, dtype=torch.int32) % _MARGIN
        found: Tensor = (rows[:, None] * self.down).sum(2, dtype=torch.int32) % _MARGIN
        return found

    def forward(self, photo: Tensor) -> Tensor:
        """Return the noise of photos, uint8 (B, S, S, 3): float32 (B, 2, 3, S, S), fine and anchor."""
        corners = self.corners(photo).view(-1, 2, 2)
        if torch.compiler.is_exporting():  # a graph has no numbers to cut at, and copies twice
            ahead = torch.arange(self.size, device=photo.device)
            windows = [
                self.field[scale].index_select(1, top + ahead).index_select(2, left + ahead)
                for corner in corners.long()
                for scale, (top, left) in enumerate(corner)
            ]
        else:
            windows = [
                self.field[scale, :, top : top + self.size, left : left + self.size]
                for corner in corners.tolist()
                for scale, (top, left) in enumerate(corner)
            ]
        return torch.stack(windows).view(len(photo), 2, 3, self.size, self.size)
