"""What the generator asks of a latent diffusion model, whoever trained it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from torch import Tensor, nn

Draw: TypeAlias = Callable[[Sequence[int]], Tensor]
"""Gives standard normal noise for a batch, float32 (B, *shape), of the shape it is asked for."""

PLACEHOLDER = "*"
TEMPLATES = (
    "a photo of a *",
    "a macro photo of a *",
    "a sharp photo of the *",
    "a dim photo of a *",
    "a photo of a part with a *",
    "a photo of a surface with a *",
    "an inspection photo that shows a *",
)


class Scene(NamedTuple):
    """What a latent is painted into.

    clean: latents of the photo, (B, C, h, w); mask: where to paint, (B, 1 or C, h, w) in {0, 1}, as
    `LatentBackbone.cells` gives it.
    """

    clean: Tensor
    mask: Tensor


class Context(NamedTuple):
    """What the cross-attention reads.

    tokens: (B, L, D), in the backbone's number format; learned: which of the L positions hold the
    learned tokens, empty in the null context. Attention re-weighting touches these columns only.
    """

    tokens: Tensor
    learned: slice


class LatentBackbone(Protocol):
    """A latent diffusion model: pictures in and out, learned tokens in, noise out.

    Pictures, latents and noise are float32 whatever the number format of the weights; tensors come
    and go on the device that the backbone was opened on. It opens frozen: gradients pass through it to
    the learned tokens, and nothing of it learns. No row of a batch sees another.

    size: side of the square picture that it was trained on, pixels. stride: pixels per latent cell.
    channels: of a latent. token_width: width of one learned token. kept: alpha_bar of its noise
    schedule, float64 (T,), falling.
    """

    size: int
    stride: int
    channels: int
    token_width: int
    kept: Tensor

    def encode(self, image: Tensor, draw: Draw | None = None) -> Tensor:
        """Return latents (B, C, H / stride, W / stride) of pictures (B, 3, H, W) in [0, 1].

        They are scaled to a variance near 1. draw: of noise, for a sample of the encoder's
        distribution; None = its mean.
        """
        ...

    def decode(self, latent: Tensor) -> Tensor:
        """Return pictures (B, 3, H, W) in [0, 1] of latents (B, C, H / stride, W / stride)."""
        ...

    def cells(self, mask: Tensor) -> Tensor:
        """Return where the latents of a mask (B, 1, H, W) are painted, (B, 1 or C, h, w) in {0, 1}.

        A mask that is not empty stays so. C channels where those of a cell belong to different pixels.
        """
        ...

    def loss_weight(self, step: Tensor) -> Tensor:
        """Return what an error of the noise counts in training at each step, (B, 1, 1, 1).

        1 where the network predicts the noise. step: int64 (B,).
        """
        ...

    def word(self, text: str) -> Tensor:
        """Return the vector (token_width,) that a learned token with this meaning should start from."""
        ...

    def context(self, tokens: Tensor | None, count: int, prompt: str = TEMPLATES[0]) -> Context:
        """Return what the cross-attention reads for `count` pictures.

        tokens: (count, N, token_width), or (1, N, token_width) for all of them; they stand in place of
        the `*` of the prompt, where the backbone reads words. None = the null context, of no prompt.

        Raises:
            ConfigError: the prompt has not exactly one `*`, or there is no room for N tokens in it.
        """
        ...

    def predict_noise(
        self, noisy: Tensor, step: Tensor, context: Context, scene: Scene | None = None
    ) -> Tensor:
        """Return the noise (B, C, h, w) in noisy latents, whatever the network predicts inside.

        noisy: (B, C, h, w); step: int64 (B,) in [0, T). A backbone that was trained on plain pictures
        leaves the scene alone.
        """
        ...

    def attention_modules(self) -> nn.Module:
        """Return the diffusers network whose cross-attention can be re-weighted."""
        ...
