"""Both networks, and the arithmetic between them (DiffusionAD, Figure 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish import runtime
from blemish.config import InspectorConfig
from blemish.detection.objective import clean_loss, feature_loss, mask_loss, noise_loss
from blemish.detection.samples import Batch
from blemish.diffusion import (
    add_noise,
    kept_at,
    linear_kept,
    norm_guided,
    posterior_step,
    predict_clean,
    predict_noise,
)
from blemish.networks import Comparator, Denoiser, LiteEncoder, UNetSegmenter

FEATURE_WEIGHT = 0.025


class Guess(NamedTuple):
    """What one pass of the denoiser says about a noisy image.

    noisy, noise, clean: (B, 3, H, W); kept: alpha_bar, (B, 1, 1, 1); features: of the clean image as
    the denoiser expects them, coarse grids of the strides 4, 8, 16, or empty.
    """

    noisy: Tensor
    noise: Tensor
    clean: Tensor
    kept: Tensor
    features: list[Tensor]

    def rows(self, chosen: slice) -> Guess:
        """Return the guess about some images of the batch."""
        return self.map(lambda value: value[chosen])

    def map(self, change: Callable[[Tensor], Tensor]) -> Guess:
        """Return the guess with every tensor changed."""
        plain = [change(value) for value in (self.noisy, self.noise, self.clean, self.kept)]
        return Guess(plain[0], plain[1], plain[2], plain[3], [change(f) for f in self.features])


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

    def __init__(self, config: InspectorConfig) -> None:
        super().__init__()
        diffusion, shape = config.diffusion, config.denoiser
        self.diffusion = diffusion
        self.patch = shape.patch
        self.encoder = LiteEncoder() if config.segmenter.kind == "features" else None
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

    @classmethod
    def fresh(cls, config: InspectorConfig, squares: npt.NDArray[np.uint8]) -> Inspector:
        """Return an untrained inspector: weights drawn from the seed, ImageNet features if asked for.

        squares: uint8 (N, S, S, 3), good photos; their features are standardised to mean 0, variance 1.

        Raises:
            DependencyError: the ImageNet weights are not installed.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(runtime.stream_seed(config.training.seed, "weights"))
            inspector = cls(config)
        if inspector.encoder is not None:
            inspector.encoder.load_imagenet()
            inspector.encoder.standardise(as_float(torch.from_numpy(squares)))
        return inspector

    def forward(self, photo: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, 1, H, W) and the reconstruction (B, 3, H, W) in [0, 1].

        photo: uint8 (B, H, W, 3). noise: (B, 2, 3, H, W), for the fine and for the anchor step.
        """
        image = as_float(photo)
        fine, anchor = self.diffusion.fine_step, self.diffusion.anchor_step
        if self.diffusion.reconstruction == "iterative":
            normal = self._iterate(image, noise)
        else:
            steps = torch.tensor([fine, anchor], device=image.device)[:, None]
            steps = steps.expand(2, len(image))
            normal = self.guide(self.guess(image, noise, steps[0], steps[1]))
        return self.segment(image, normal, self.features(image)), normal.image

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
        both = self._pass(
            torch.cat([image, image]),
            torch.cat([noise[:, 0], noise[:, 1]]),
            torch.cat([fine, anchor]),
        )
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
            norm_guided(near, far, fine.kept.to(near.dtype), weight)
            for near, far in zip(fine.features, anchor.features, strict=True)
        ]
        return Reconstruction(image.clamp(0, 1), features)

    def segment(self, image: Tensor, normal: Reconstruction, features: list[Tensor]) -> Tensor:
        """Return defect logits (B, 1, H, W) of a photo beside its normal look."""
        if self.encoder is None:
            logits: Tensor = self.segmenter(image, normal.image)
        else:
            logits = self.segmenter(image, normal.image, features, normal.features)
        return logits

    def _pass(self, image: Tensor, noise: Tensor, step: Tensor, *, plain: bool = False) -> Guess:
        """Return one pass of the denoiser on the image with noise, or without (`plain`)."""
        kept = kept_at(self.kept, step)
        noisy = image if plain else add_noise(image, noise, kept)
        return self._read(noisy, kept, step)

    def _read(self, noisy: Tensor, kept: Tensor, step: Tensor) -> Guess:
        output, side = self.denoiser(noisy, step)
        output = output.float()
        if self.diffusion.prediction == "clean":
            noise, clean = predict_noise(noisy, output, kept), output
        else:
            noise, clean = output, predict_clean(noisy, output, kept)
        return Guess(noisy, noise, clean, kept, self._unfold(side))

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


class Objective(nn.Module):
    """The training loss of one micro-batch (DiffusionAD, Eq. 11): the sum of Eq. 9, ours and Eq. 10."""

    def __init__(self, config: InspectorConfig, inspector: Inspector, dtype: torch.dtype) -> None:
        super().__init__()
        self.inspector = inspector
        self.detach = config.training.detach
        self.by_noise = config.diffusion.prediction == "noise"
        self.dtype = dtype

    def forward(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return `loss` (Eq. 11) and its parts: `noise` (Eq. 9), `features` (ours), `mask` (Eq. 10)."""
        inspector = self.inspector
        where = next(inspector.parameters()).device
        image = as_float(batch.photo.to(where))
        valid, normal = batch.valid.to(where).float(), batch.normal.to(where)
        noise, fine, anchor = batch.noise().to(where), batch.fine.to(where), batch.anchor.to(where)
        with runtime.autocast(where, self.dtype):
            features = inspector.features(image)
            if self.detach:
                guesses = self._learning_from_normal(image, noise, fine, anchor, normal)
                settled = [guess.map(torch.Tensor.detach) for guess in guesses]
            else:
                guesses = settled = inspector.guess(image, noise, fine, anchor)
            logits = inspector.segment(image, inspector.guide(settled), features)
        expected = features[1:]
        losses = {
            "noise": self._noise(guesses, image, noise, normal, valid),
            "features": sum(
                (feature_loss(g.features, expected, normal, valid) for g in guesses),
                torch.zeros((), device=where),
            ),
            "mask": mask_loss(logits.float(), batch.mask.to(where).float(), valid),
        }
        total = losses["noise"] + FEATURE_WEIGHT * losses["features"] + losses["mask"]
        return {"loss": total, **losses}

    def _learning_from_normal(
        self, image: Tensor, noise: Tensor, fine: Tensor, anchor: Tensor, normal: Tensor
    ) -> list[Guess]:
        """Return guesses that learn from the leading normal images only: the rest costs no backward."""
        count = int(normal.long().cumprod(0).sum())
        inputs = (image, noise, fine, anchor)
        parts = []
        for rows, learns in ((slice(0, count), True), (slice(count, None), False)):
            chosen = [value[rows] for value in inputs]
            if len(chosen[0]):
                with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                    parts.append(self.inspector.guess(*chosen))
        return [_joined(pair) for pair in zip(*parts, strict=True)]

    def _noise(
        self, guesses: list[Guess], image: Tensor, noise: Tensor, normal: Tensor, valid: Tensor
    ) -> Tensor:
        """Return Eq. 9 over the noise scales in use."""
        total = torch.zeros((), device=image.device)
        for scale, guess in enumerate(guesses):
            if self.by_noise:
                total = total + noise_loss(guess.noise, noise[:, scale], normal, valid)
            else:
                total = total + clean_loss(guess.clean, image, guess.kept, normal, valid)
        return total


def as_float(photo: Tensor) -> Tensor:
    """Return float32 (B, 3, H, W) in [0, 1], channels last, of uint8 (B, H, W, 3)."""
    return photo.permute(0, 3, 1, 2).float() / 255


def _joined(parts: tuple[Guess, ...]) -> Guess:
    """Return the guesses about consecutive parts of a batch as one."""
    if len(parts) == 1:
        return parts[0]
    rows = zip(*([*part[:4], *part.features] for part in parts), strict=True)
    noisy, noise, clean, kept, *features = (torch.cat(row) for row in rows)
    return Guess(noisy, noise, clean, kept, features)
