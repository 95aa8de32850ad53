"""Blended sampling: a defect is painted into a photo, and nothing else changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor

from blemish.backbones import LatentBackbone, Scene
from blemish.backbones.embedded import PixelCodec
from blemish.diffusion import (
    DDIMSolver,
    MultistepSolver,
    Solver,
    add_noise,
    blend,
    classifier_free,
    dilate,
    implied_noise,
    mask_shrink,
    paper_weights,
    reference_weights,
    tempered_weights,
)
from blemish.errors import ConfigError
from blemish.generation.exemplars import Patchwork
from blemish.networks import Emphasis, reweighted
from blemish.networks.attention import Form

Reweighting = Literal["off", "paper", "reference", "tempered", "prompt_to_prompt"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a defect is painted.

    solver: `multistep` is DPM-Solver++(2M), `ddim` the paper's sampler. steps: calls of the network
    for each image; spacing: the power of `spaced_steps`. eta: how much fresh noise DDIM adds, 1 in the
    paper. guidance: scale of classifier-free guidance, 1 = none. reweighting: which reading of Eq. 7,
    or `prompt_to_prompt`, the mask itself in the place of the attention to the learned tokens; form:
    how the weights of Eq. 7 enter the attention. shrink: by how many latent cells the mask starts
    larger than it ends. handover: the noise, in deviations of the product's pixels, below which the
    patches of the real defects take over from the network, where there are patches; infinity leaves all
    to them.
    """

    solver: Literal["multistep", "ddim"] = "ddim"
    steps: int = 10
    spacing: float = 2.0
    eta: float = 1.0
    guidance: float = 1.0
    reweighting: Reweighting = "off"
    form: Form = "logit_add"
    shrink: int = 0
    handover: float = math.inf


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
    backbone: LatentBackbone | PixelCodec,
    tokens: Tensor | None,
    photo: Tensor,
    mask: Tensor,
    streams: Sequence[int],
    how: Sampling,
    patches: Sequence[Patchwork] = (),
) -> Tensor:
    """Return the photos with a defect painted inside the mask, (B, 3, S, S) in [0, 1].

        x_{t-1} = p_theta(x_{t-1} | x_t, e) * m + q(y_{t-1} | y_0) * (1 - m)

    (AnomalyDiffusion, Eq. 1, 8 and 10.) tokens: (B, N, token_width), what is painted; None where
    patches do it alone. photo: (B, 3, S, S) in [0, 1]; mask: (B, 1, S, S) in {0, 1}; streams: B seeds
    of the images' private noise; patches: those of real defects, one patchwork a photo, or none.
    Outside the mask the latents are the photo's; the caller puts the photo's own pixels back there.

    Raises:
        ConfigError: neither network nor patches can paint, or patches meet latents that are no pixels.
    """
    if patches and not isinstance(backbone, PixelCodec):
        raise ConfigError(
            "patches of real defects paint pixels, and this backbone has latents of its own",
            hint="set painting.painter=network, or take the embedded backbone",
        )
    if tokens is None and not (patches and how.handover == math.inf):
        raise ConfigError("there are no tokens that tell the network what to paint")
    clean, cells = backbone.encode(photo), backbone.cells(mask)
    grid = cells.amax(dim=1, keepdim=True)
    noise = Noise(streams, clean.shape[1:], clean.device)
    solver, total = _solver(how, backbone.kept), len(backbone.kept)
    noisy, expected = noise.draw(), clean
    with ExitStack() as stack:
        network = None
        if tokens is not None:
            network = _Network(cast(LatentBackbone, backbone), tokens, Scene(clean, cells), how)
            stack.enter_context(network.heeding())
        for index, number in enumerate(solver.steps):
            kept = solver.kept[index].float()
            grown = dilate(grid, mask_shrink(number, total, how.shrink)) if how.shrink else grid
            allowed = torch.maximum(cells, grown) if how.shrink else cells
            noisy = blend(noisy, add_noise(clean, noise.draw(), kept), allowed)
            sigma = float((1 - kept).sqrt() / kept.sqrt())
            if patches and sigma < how.handover:
                guess = _by_patches(cast(PixelCodec, backbone), patches, noisy, kept, sigma)
            else:
                assert network is not None  # noqa: S101 - checked above
                guess = network.noise(noisy, expected if index else None, number)
            noisy, expected = solver.advance(guess, index, noisy, noise.draw())
    return backbone.decode(blend(noisy, clean, cells))


class _Network:
    """A backbone that is told what to paint, and heeds the tokens where it has not."""

    def __init__(self, backbone: LatentBackbone, tokens: Tensor, scene: Scene, how: Sampling) -> None:
        count = len(scene.clean)
        self.backbone, self.scene, self.how = backbone, scene, how
        self.context = backbone.context(tokens, count)
        self.empty = backbone.context(None, count) if how.guidance != 1 else None
        change = "replace" if how.reweighting == "prompt_to_prompt" else how.form
        self.emphasis = Emphasis(change, self.context.learned)
        self.grid = scene.mask.amax(dim=1, keepdim=True)

    def heeding(self) -> AbstractContextManager[object]:
        """Re-weight the attention while the context lasts, if that is asked for."""
        if self.how.reweighting == "off":
            return nullcontext()
        return reweighted(self.backbone.attention_modules(), self.emphasis)

    def noise(self, noisy: Tensor, expected: Tensor | None, number: int) -> Tensor:
        """Return the predicted noise. expected: the last clean estimate, None at the first step."""
        step = torch.full((len(noisy),), number, device=noisy.device)
        self.emphasis.weights = self._weights(noisy, expected)
        guess = self.backbone.predict_noise(noisy, step, self.context, self.scene)
        if self.empty is None:
            return guess
        self.emphasis.weights = None
        plain = self.backbone.predict_noise(noisy, step, self.empty, self.scene)
        return classifier_free(plain, guess, self.how.guidance)

    def _weights(self, noisy: Tensor, expected: Tensor | None) -> Tensor | None:
        """Return Eq. 7 in the chosen reading; None before the first estimate, and where it is off."""
        clean, kind = self.scene.clean, self.how.reweighting
        if kind == "prompt_to_prompt":
            return self.grid
        if kind == "off" or expected is None:
            return None
        if kind == "reference":
            return reference_weights(noisy, clean, self.grid)
        if kind == "tempered":
            return tempered_weights(expected, clean, self.grid)
        decoded, photo = self.backbone.decode(expected), self.backbone.decode(clean)
        return paper_weights(decoded, photo, _enlarged(self.grid, photo))


def _by_patches(
    backbone: PixelCodec, patches: Sequence[Patchwork], noisy: Tensor, kept: Tensor, sigma: float
) -> Tensor:
    """Return the noise that the patches of real defects see in noisy latents, (B, C, h, w)."""
    seen = backbone.pixels(noisy / kept.sqrt())
    clean = [one.expected_clean(row[None], sigma) for one, row in zip(patches, seen, strict=True)]
    return implied_noise(noisy, backbone.encode(torch.cat(clean)), kept)


def _solver(how: Sampling, kept: Tensor) -> Solver:
    if how.solver == "ddim":
        return DDIMSolver(kept, how.steps, how.eta, how.spacing)
    return MultistepSolver(kept, how.steps, power=how.spacing)


def _enlarged(grid: Tensor, photo: Tensor) -> Tensor:
    """Return a mask of latent cells on the photo's pixels."""
    factor = photo.shape[-1] // grid.shape[-1]
    return grid.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
