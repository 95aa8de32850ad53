"""Both networks, and the arithmetic between them (DiffusionAD, Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish import randomness
from blemish.config import InspectorConfig
from blemish.detection.evidence import Opinion, Usual, chroma
from blemish.diffusion import (
    add_noise,
    kept_at,
    linear_kept,
    norm_guided,
    posterior_step,
    predict_clean,
)
from blemish.networks import (
    Comparator,
    Denoiser,
    LiteEncoder,
    Novelty,
    UNetSegmenter,
    log_distance,
)

_STATISTICS = 64

USUAL = ("ceiling", "spread", "stain")
"""Under which names an inspector keeps its `Usual`."""


class Guess(NamedTuple):
    """What one pass of the denoiser says about a noisy image.

    output: what it predicts, noise or clean image, (B, 3, H, W); clean: the clean image that this
    means, (B, 3, H, W); kept: alpha_bar, (B, 1, 1, 1); features: of the clean image as the denoiser
    expects them, at strides 4, 8, 16, or empty.
    """

    output: Tensor
    clean: Tensor
    kept: Tensor
    features: list[Tensor]

    def rows(self, chosen: slice) -> Guess:
        """Return the guess about some images of the batch."""
        return self.map(lambda value: value[chosen])

    def map(self, change: Callable[[Tensor], Tensor]) -> Guess:
        """Return the guess with every tensor changed."""
        features = [change(value) for value in self.features]
        return Guess(change(self.output), change(self.clean), change(self.kept), features)


class Reconstruction(NamedTuple):
    """The normal look of a photo. image: (B, 3, H, W) in [0, 1]; features: at strides 4, 8, 16."""

    image: Tensor
    features: list[Tensor]


class Inspector(nn.Module):
    """A photo in, defect logits and the photo's normal look out.

    With `segmenter.kind` `features`, the denoiser predicts beside the clean image the ImageNet
    features that it should have: the posterior mean of the features, which is not the features of the
    (blurred) posterior mean. Norm guidance interpolates both alike.
    """

    kept: Tensor
    ceiling: Tensor
    spread: Tensor
    stain: Tensor
    trust: Tensor

    def __init__(self, config: InspectorConfig) -> None:
        super().__init__()
        diffusion, shape = config.diffusion, config.denoiser
        self.diffusion = diffusion
        self.patch = shape.patch
        # An autoencoder sees no noise that it could predict.
        self.by_noise = diffusion.prediction == "noise" and diffusion.reconstruction != "autoencoder"
        by_features = config.segmenter.kind == "features"
        self.encoder = LiteEncoder() if by_features else None
        self.memory = Novelty(LiteEncoder.widths[2:]) if by_features else None
        self.segmenter: nn.Module
        if self.encoder is not None:
            self.segmenter = Comparator(LiteEncoder.widths, config.segmenter.width)
        else:
            self.segmenter = UNetSegmenter(config.segmenter.width)
        self.denoiser = Denoiser(
            config.data.size,
            shape.width,
            shape.multipliers,
            shape.blocks,
            shape.attention,
            shape.heads,
            shape.groups,
            shape.patch,
            skips=diffusion.reconstruction != "autoencoder",
            resampling_blocks=shape.resampling_blocks,
            side_channels=sum(self._cells()),
        )
        kept = linear_kept(diffusion.steps, diffusion.beta_start, diffusion.beta_end)
        self.register_buffer("kept", kept, persistent=False)
        for name, value in zip(USUAL, Usual(torch.zeros(())), strict=True):
            self.register_buffer(name, value.clone())
        self.register_buffer("trust", torch.ones(()))

    @classmethod
    def fresh(
        cls, config: InspectorConfig, squares: npt.NDArray[np.uint8], families: Sequence[int]
    ) -> Inspector:
        """Return an untrained inspector: weights drawn from the seed, ImageNet features if asked for.

        squares: uint8 (N, S, S, 3), of training photos of these families; the features of the
        first are standardised to mean 0 and variance 1, those of all fill the memory.

        Raises:
            DependencyError: the ImageNet weights are not installed.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(randomness.stream_seed(config.training.seed, "weights"))
            inspector = cls(config)
        if inspector.encoder is not None and inspector.memory is not None:
            inspector.encoder.load_imagenet()
            inspector.encoder.standardise(as_float(torch.from_numpy(squares[:_STATISTICS])))
            seen = inspector._remembered(squares)
            inspector.memory.fit(seen, families, randomness.generator(config.training.seed, "memory"))
        return inspector

    def remember(
        self, squares: npt.NDArray[np.uint8], families: Sequence[int], generator: torch.Generator
    ) -> None:
        """Fill the memory anew from good squares (N, S, S, 3) of these families; its scale stays."""
        if self.memory is not None:
            self.memory.fill(self._remembered(squares), families, generator)

    def _remembered(self, squares: npt.NDArray[np.uint8]) -> list[list[Tensor]]:
        """Return what the memory is made of: each square's features at strides 8 and 16."""
        return [self.features(as_float(torch.from_numpy(square[None])))[2:] for square in squares]

    def forward(self, photo: Tensor, noise: Tensor, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits (B, 1, H, W) and the reconstruction (B, 3, H, W) in [0, 1].

        photo: uint8 (B, H, W, 3). noise: (B, 2, 3, H, W), for the fine and for the anchor step. own: as
        in `novelty`.
        """
        opinion = self.opinion(photo, noise, own=own)
        return opinion.verdict(self.usual, self.trust), opinion.reconstruction

    @property
    def usual(self) -> Usual:
        """What good photos reach, as `settle` of the training found."""
        return Usual(self.ceiling, self.spread, self.stain)

    def opinion(
        self, photo: Tensor, noise: Tensor, *, quick: bool = False, own: Tensor | None = None
    ) -> Opinion:
        """Return what speaks for a defect at each place; arguments as in `forward`.

        quick: in one pass from the small noise even where it denoises iteratively, in hundreds.
        """
        image = as_float(photo)
        fine, anchor = self.diffusion.fine_step, self.diffusion.anchor_step
        if self.diffusion.reconstruction == "iterative" and not quick:
            normal = self._iterate(image, noise)
        else:
            steps = torch.tensor([fine, anchor], device=image.device)[:, None]
            steps = steps.expand(2, len(image))
            normal = self.guide(self.guess(image, noise, steps[0], steps[1]))
        features = self.features(image)
        novelty = self.novelty(features, own)
        learned = self.segment(image, normal, features, novelty).float()
        residual = log_distance(features[1] - normal.features[0]) if features else None
        colour = chroma(image - normal.image) if features else None
        return Opinion(learned, novelty, residual, normal.image, colour)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the photo's standardised ImageNet features; none when the segmenter uses none."""
        if self.encoder is None:
            return []
        with torch.no_grad():
            found: list[Tensor] = self.encoder(image)
        return found

    def guess(self, image: Tensor, noise: Tensor, fine: Tensor, anchor: Tensor) -> list[Guess]:
        """Return the denoiser's guesses from small and, where it is used, from large noise.

        image: (B, 3, H, W) in [0, 1]; noise: (B, 2, 3, H, W); fine, anchor: int64 (B,). Both noise
        scales go through the network in one batch.
        """
        if self.diffusion.reconstruction == "autoencoder":
            return [self._pass(image, noise[:, 0], torch.zeros_like(fine), plain=True)]
        if self.diffusion.reconstruction != "norm_guided":
            return [self._pass(image, noise[:, 0], fine)]
        step = torch.cat([fine, anchor])
        kept = kept_at(self.kept, step)
        noisy = add_noise(image[None], noise.transpose(0, 1), kept.view(2, -1, 1, 1, 1))
        both = self._read(noisy.flatten(0, 1), kept, step)
        count = len(image)
        return [both.rows(slice(0, count)), both.rows(slice(count, None))]

    def guide(self, guesses: list[Guess]) -> Reconstruction:
        """Return the normal look that the guesses make together (DiffusionAD, Eq. 6 to 8)."""
        fine = guesses[0]
        if len(guesses) == 1:
            return Reconstruction(fine.clean.clamp(0, 1), fine.features)
        anchor, weight = guesses[1], self.diffusion.guidance
        image = norm_guided(fine.clean, anchor.clean.clamp(0, 1), fine.kept, weight)
        features = [
            norm_guided(near, far, fine.kept, weight)
            for near, far in zip(fine.features, anchor.features, strict=True)
        ]
        return Reconstruction(image.clamp(0, 1), features)

    def novelty(self, features: list[Tensor], own: Tensor | None = None) -> Tensor | None:
        """Return how far each place is from all that good photos have shown, (B, 1, H/8, W/8).

        own: int64 (B,), the families of remembered photos, which are not compared with their own. None
        when the segmenter uses no features.
        """
        if self.memory is None:
            return None
        found: Tensor = self.memory(features[2:], own)
        return found

    def segment(
        self,
        image: Tensor,
        normal: Reconstruction,
        features: list[Tensor],
        novelty: Tensor | None,
    ) -> Tensor:
        """Return the segmenter's logits (B, 1, H, W) of a photo beside its normal look."""
        if novelty is None:
            logits: Tensor = self.segmenter(image, normal.image)
        else:
            logits = self.segmenter(image, normal.image, features, normal.features, novelty)
        return logits

    def _pass(self, image: Tensor, noise: Tensor, step: Tensor, *, plain: bool = False) -> Guess:
        """Return one pass of the denoiser on the image with noise, or without (`plain`)."""
        kept = kept_at(self.kept, step)
        noisy = image if plain else add_noise(image, noise, kept)
        return self._read(noisy, kept, step)

    def _read(self, noisy: Tensor, kept: Tensor, step: Tensor) -> Guess:
        output, side = self.denoiser(noisy, step)
        output = output.float()
        clean = predict_clean(noisy, output, kept) if self.by_noise else output
        return Guess(output, clean, kept, self._unfold(side))

    def _iterate(self, image: Tensor, noise: Tensor) -> Reconstruction:
        """Return the normal look by denoising step by step from the anchor step (Eq. 3)."""
        kept = self.kept.float()
        step = torch.full((len(image),), self.diffusion.anchor_step, device=image.device)
        noisy = add_noise(image, noise[:, 1], kept_at(self.kept, step))
        fresh = noise[:, 0]
        while True:
            now = int(step[0])
            guess = self._read(noisy, kept_at(self.kept, step), step)
            clean = guess.clean.clamp(0, 1)
            if now == 0:
                return Reconstruction(clean, guess.features)
            # One field serves all steps, moved along: independent where it matters, and repeatable.
            moved = fresh.roll((now * 37, now * 53), dims=(-2, -1))
            before = kept[now - 1].view(1, 1, 1, 1)
            noisy = posterior_step(noisy, clean, guess.kept, before, moved)
            step = step - 1

    def _cells(self) -> list[int]:
        """Return how many side channels carry the features of each expected stride."""
        if self.encoder is None:
            return []
        return [
            channels * max(1, self.patch // stride) ** 2
            for channels, stride in zip(LiteEncoder.widths, LiteEncoder.strides, strict=True)
        ][1:]

    def _unfold(self, side: Tensor) -> list[Tensor]:
        """Return the side channels as features at strides 4, 8, 16."""
        if self.encoder is None:
            return []
        parts = torch.split(side, self._cells(), dim=1)
        return [
            F.pixel_shuffle(part, self.patch // stride)
            if self.patch >= stride
            else F.avg_pool2d(part, stride // self.patch)
            for part, stride in zip(parts, LiteEncoder.strides[1:], strict=True)
        ]


def as_float(photo: Tensor) -> Tensor:
    """Return float32 (B, 3, H, W) in [0, 1], channels last, of uint8 (B, H, W, 3)."""
    return photo.permute(0, 3, 1, 2).float() / 255
