"""What speaks for a defect at each place, and how its kinds add up to a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.stats import t as student
from torch import Tensor

PLAIN, SOFTNESS = 2.0, 2.0
"""Novelty counts in full up to so many standard deviations, and beyond for never more than so many."""

EVEN = PLAIN + SOFTNESS
"""Where the map is one half, in standard deviations of novelty: as much as novelty alone can say."""

SHARPNESS, REACH = 0.5, 6
"""What a cell of stride 4 loses for each unit that its residual lacks to the largest within reach."""

CELL = 8
"""Side of the cells whose colour is compared, in pixels."""

STAIN = 8.0
"""What each spread that a colour goes beyond good photos counts, in standard deviations of novelty."""

RARE = 0.001
"""How likely the strangest colour of one more good square is taken for a stain."""

_LEAST_SPREAD = 1 / 255
_LEAST_LENGTH = 1e-3
_NEVER = 1e4


class Usual(NamedTuple):
    """What good photos reach that the networks have not learned from.

    learned: the segmenter's logit that most of their pixels stay below, (); spread: 1/255 and the root
    mean square of each component of `chroma` of the photo less its normal look, (2,); stain:
    `largest_expected` of the length of that difference, in spreads, (). Without the last two no colour
    is ever a stain. A tiled photo has many squares, each as likely to go beyond as one that was seen.
    """

    learned: Tensor
    spread: Tensor = torch.ones(2)
    stain: Tensor = torch.tensor(_NEVER)


class Opinion(NamedTuple):
    """What speaks for a defect.

    learned: the segmenter's logits, float32 (B, 1, H, W). novelty: (B, 1, H/8, W/8); residual: log
    distance from the expected features, (B, 1, H/4, W/4); both None without features.
    reconstruction: (B, 3, H, W) in [0, 1]. chroma: `chroma` of the photo less the reconstruction,
    (B, 2, H/8, W/8), or None.
    """

    learned: Tensor
    novelty: Tensor | None
    residual: Tensor | None
    reconstruction: Tensor
    chroma: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Opinion:
        """Return the opinion with every tensor changed."""
        return Opinion._make(None if value is None else change(value) for value in self)

    def verdict(self, usual: Usual, trust: Tensor | float = 1.0) -> Tensor:
        """Return the logits (B, 1, H, W) of a defect (ours).

            bounded(novelty + stain * max(0, colour - usual colour))
                + trust * max(0, learned - usual)
                - sharpness * (largest residual nearby - residual)
                - even
            bounded(n) = min(n, plain) + softness * tanh(max(0, n - plain) / softness)

        Without novelty they are the segmenter's. With it, two kinds of evidence add up: the novelty,
        which knows no drawn defect and so cannot have learned wrongly, and what the segmenter says
        beyond what it reaches on most pixels of good photos that it has not seen (`usual`).
        trust: how much that counts, more where it learned from examples of real defects. Novelty is
        coarse; the distance from what the denoiser expects is fine, and says where in the neighbourhood
        the defect lies: the third term takes the halo away and leaves the peak. Novelty is bounded: a
        cell of stride 8 that stands out does not say which of its pixels are the defect, and finer
        evidence has to decide among them. A colour that the normal look has not is novelty, too:
        ImageNet features tell textures apart far better than colours (docs/lab.md).
        """
        if self.novelty is None or self.residual is None:
            return self.learned
        size = (self.learned.shape[-2], self.learned.shape[-1])
        coarse = self.novelty
        if self.chroma is not None:
            coarse = coarse + STAIN * F.relu(spreads(self.chroma, usual.spread) - usual.stain)
        novelty = F.interpolate(bounded(coarse), size, mode="bilinear")
        halo = F.interpolate(below_peak(self.residual, REACH), size, mode="bilinear")
        return novelty + trust * F.relu(self.learned - usual.learned) - SHARPNESS * halo - EVEN


def bounded(novelty: Tensor) -> Tensor:
    """Return novelty as it is up to `PLAIN`, and beyond bent to stay below `EVEN`."""
    return novelty.clamp(max=PLAIN) + SOFTNESS * torch.tanh(F.relu(novelty - PLAIN) / SOFTNESS)


def below_peak(values: Tensor, reach: int) -> Tensor:
    """Return how far each cell stays below the largest within `reach` cells: (B, 1, h, w), >= 0."""
    rows = F.max_pool2d(values, (1, 2 * reach + 1), 1, (0, reach))
    return F.max_pool2d(rows, (2 * reach + 1, 1), 1, (reach, 0)) - values


def chroma(image: Tensor) -> Tensor:
    """Return the colour of an image without its brightness, (B, 2, H/8, W/8) (ours).

        (red - green) / 2 and (blue - (red + green) / 2) / 2, averaged over cells of 8 pixels,
        less their median over the picture, averaged over 3 x 3 cells

    The texture that a blurred normal look lacks averages out, a stain does not; the tint of another
    light, which all of the picture has, is taken off. Beyond the frame are zeros: at its border, where
    the normal look is worst, a stain counts for two thirds. image: (B, 3, H, W), or the difference of
    two.
    """
    red, green, blue = F.avg_pool2d(image.float(), CELL).unbind(1)
    parts = torch.stack([(red - green) / 2, (blue - (red + green) / 2) / 2], dim=1)
    ordered = parts.flatten(2).sort(dim=2).values  # exported graphs know no median
    tint = ordered[:, :, (ordered.shape[2] - 1) // 2]
    return F.avg_pool2d(parts - tint[:, :, None, None], 3, 1, 1)


def spreads(difference: Tensor, spread: Tensor) -> Tensor:
    """Return the length of chroma differences (B, 2, h, w) in spreads (2,): (B, 1, h, w)."""
    squared = (difference / spread.view(1, 2, 1, 1)).square()
    return squared.mean(dim=1, keepdim=True).sqrt()


def usual(opinions: Iterable[Opinion], valid: Iterable[npt.NDArray[np.bool_]], calm: float) -> Usual:
    """Return what good photos reach.

    opinions: on batches of one, a square of each photo; valid: bool (H, W) of each, False on padding;
    calm: the share of pixels whose logits stay below `Usual.learned`.
    """
    learned, colours = [], []
    for opinion, inside in zip(opinions, valid, strict=True):
        learned.append(opinion.learned[0, 0].numpy()[inside])
        middles = torch.from_numpy(inside[CELL // 2 :: CELL, CELL // 2 :: CELL])
        if opinion.chroma is not None and middles.any():
            colours.append(opinion.chroma[:, :, middles])
    ceiling = torch.tensor(np.quantile(np.concatenate(learned), calm), dtype=torch.float32)
    if not colours:
        return Usual(ceiling)
    spread = torch.cat(colours, dim=2).square().mean(dim=(0, 2)).sqrt() + _LEAST_SPREAD
    longest = [float(spreads(colour[..., None], spread).max()) for colour in colours]
    return Usual(ceiling, spread, torch.tensor(largest_expected(longest, RARE)))


def largest_expected(values: Sequence[float], chance: float) -> float:
    """Return what one more such value exceeds with this chance, if their logarithms are normal.

        exp(mean + t(1 - chance; n - 1) * deviation * sqrt(1 + 1 / n))

    The prediction interval of a normal distribution of unknown mean and deviation (Student 1908): few
    values that differ much promise little, many that hardly differ promise much, and fewer than two
    nothing: the result is then larger than any length of colours. It is never less than 1.
    """
    if len(values) < 2:
        return _NEVER
    logs = np.log(np.maximum(values, _LEAST_LENGTH))
    margin = student.ppf(1 - chance, len(logs) - 1) * logs.std(ddof=1) * np.sqrt(1 + 1 / len(logs))
    return float(np.exp((logs.mean() + margin).clip(0, np.log(_NEVER))))
