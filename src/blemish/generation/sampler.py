"""Blended sampling: a defect is painted into a photo, and nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from blemish.backbones import LatentBackbone, Scene
from blemish.diffusion import (
    DDIMSolver,
    MultistepSolver,
    Solver,
    add_noise,
    blend,
    classifier_free,
    dilate,
    mask_shrink,
    paper_weights,
    reference_weights,
    tempered_weights,
)
from blemish.networks import Emphasis, reweighted
from blemish.networks.attention import Form

Reweighting = Literal["off", "paper", "reference", "tempered"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a defect is painted.

    solver: `multistep` is DPM-Solver++(2M), `ddim` the paper's sampler. steps: calls of the network
    for each image. eta: how much fresh noise DDIM adds, 1 in the paper. guidance: scale of
    classifier-free guidance, 1 = none. reweighting: which reading of Eq. 7; form: how the weights enter
    the attention. shrink: by how many latent cells the mask starts larger than it ends.
    """

    solver: Literal["multistep", "ddim"] = "multistep"
    steps: int = 10
    eta: float = 1.0
    guidance: float = 1.0
    reweighting: Reweighting = "off"
    form: Form = "logit_add"
    shrink: int = 0


class Noise:
    """The private noise of each image of a batch: what one gets does not depend on the others."""

    def __init__(self, streams: Sequence[int], shape: Sequence[int], device: torch.device) -> None:
        self._streams = [torch.Generator().manual_seed(stream) for stream in streams]
        self._shape, self._device = tuple(shape), device

    def draw(self) -> Tensor:
        """Return the next standard normal noise, float32 (B, *shape)."""
        drawn = [torch.randn(self._shape, generator=stream) for stream in self._streams]
        return torch.stack(drawn).to(self._device)


@torch.no_grad()
def paint(
    backbone: LatentBackbone,
    tokens: Tensor,
    photo: Tensor,
    mask: Tensor,
    streams: Sequence[int],
    how: Sampling,
) -> Tensor:
    """Return the photos with a defect painted inside the mask, (B, 3, S, S) in [0, 1].

        x_{t-1} = p_theta(x_{t-1} | x_t, e) * m + q(y_{t-1} | y_0) * (1 - m)

    (AnomalyDiffusion, Eq. 1, 8 and 10.) tokens: (B, N, token_width), what is painted; photo:
    (B, 3, S, S) in [0, 1]; mask: (B, 1, S, S) in {0, 1}; streams: B seeds of the images' private noise.
    Outside the mask the latents are the photo's; the caller puts the photo's own pixels back there.
    """
    count = len(photo)
    clean, cells = backbone.encode(photo), backbone.cells(mask)
    grid = cells.amax(dim=1, keepdim=True)
    scene = Scene(clean, cells)
    context = backbone.context(tokens, count)
    empty = backbone.context(None, count) if how.guidance != 1 else None
    noise = Noise(streams, clean.shape[1:], clean.device)
    solver, total = _solver(how, backbone.kept), len(backbone.kept)
    noisy, expected = noise.draw(), clean
    emphasis = Emphasis(how.form, context.learned)
    with ExitStack() as stack:
        if how.reweighting != "off":
            stack.enter_context(reweighted(backbone.attention_modules(), emphasis))
        for index, number in enumerate(solver.steps):
            kept = solver.kept[index].float()
            grown = dilate(grid, mask_shrink(number, total, how.shrink)) if how.shrink else grid
            allowed = torch.maximum(cells, grown) if how.shrink else cells
            noisy = blend(noisy, add_noise(clean, noise.draw(), kept), allowed)
            step = torch.full((count,), number, device=clean.device)
            emphasis.weights = _weights(how, backbone, noisy, expected, clean, grid, index)
            guess = backbone.predict_noise(noisy, step, context, scene)
            if empty is not None:
                emphasis.weights = None
                plain = backbone.predict_noise(noisy, step, empty, scene)
                guess = classifier_free(plain, guess, how.guidance)
            noisy, expected = solver.advance(guess, index, noisy, noise.draw())
    return backbone.decode(blend(noisy, clean, cells))


def _solver(how: Sampling, kept: Tensor) -> Solver:
    if how.solver == "ddim":
        return DDIMSolver(kept, how.steps, how.eta)
    return MultistepSolver(kept, how.steps)


def _weights(
    how: Sampling,
    backbone: LatentBackbone,
    noisy: Tensor,
    expected: Tensor,
    clean: Tensor,
    grid: Tensor,
    index: int,
) -> Tensor | None:
    """Return Eq. 7 in the chosen reading; None before the first estimate, and where it is off."""
    if how.reweighting == "off" or index == 0:
        return None
    if how.reweighting == "reference":
        return reference_weights(noisy, clean, grid)
    if how.reweighting == "tempered":
        return tempered_weights(expected, clean, grid)
    decoded, photo = backbone.decode(expected), backbone.decode(clean)
    return paper_weights(decoded, photo, _enlarged(grid, photo))


def _enlarged(grid: Tensor, photo: Tensor) -> Tensor:
    """Return a mask of latent cells on the photo's pixels."""
    factor = photo.shape[-1] // grid.shape[-1]
    return grid.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
