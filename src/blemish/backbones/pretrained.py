"""A latent diffusion model that somebody else has trained on all the world's pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from blemish.backbones.layouts import Parts, load_parts
from blemish.backbones.prompts import Reader
from blemish.backbones.protocol import TEMPLATES, Context, Draw, Scene
from blemish.backbones.scheduler import PREDICTIONS, kept_of, noise_of
from blemish.diffusion import kept_at, to_latent
from blemish.errors import ArtifactError


class Pretrained:
    """A `LatentBackbone` of a folder in diffusers' layout; see `open_backbone`."""

    def __init__(self, parts: Parts, *, device: torch.device, dtype: torch.dtype) -> None:
        for network in (parts.autoencoder, parts.unet, parts.encoder):
            # the one of the parent class: diffusers' own warns at every change of the number format
            nn.Module.to(network, device, dtype).eval().requires_grad_(False)
        self._autoencoder, self._unet = parts.autoencoder, parts.unet
        self._reader = Reader(parts.encoder, parts.tokenizer)
        self._scale: float = parts.autoencoder.config.scaling_factor
        self._dtype = dtype
        self._prediction = _prediction(parts.scheduler.get("prediction_type", "epsilon"))
        self.kept = kept_of(parts.scheduler)
        self.stride = 2 ** (len(parts.autoencoder.config.block_out_channels) - 1)
        self.size: int = parts.unet.config.sample_size * self.stride
        self.channels: int = parts.autoencoder.config.latent_channels
        self.token_width = self._reader.width

    @classmethod
    def load(cls, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Pretrained:
        """Return the model of a folder, its weights on a device in a number format.

        Raises:
            ArtifactError: the folder has no known layout, or a part is missing or damaged.
            DependencyError: transformers is not installed.
        """
        return cls(load_parts(folder), device=device, dtype=dtype)

    def encode(self, image: Tensor, draw: Draw | None = None) -> Tensor:
        """Return latents (B, C, H / stride, W / stride) of pictures (B, 3, H, W) in [0, 1].

            z = scale * (mean + deviation * epsilon)

        draw gives epsilon, without it epsilon is 0. A VQ autoencoder has no distribution: its deviation
        is 0.
        """
        coded = self._autoencoder.encode((2 * image - 1).to(self._dtype))
        if not hasattr(coded, "latent_dist"):
            latent: Tensor = coded.latents.to(image.dtype)
            return latent * self._scale
        latent = coded.latent_dist.mean.to(image.dtype)
        if draw is not None:
            noise = draw(latent.shape[1:]).to(latent)
            latent = latent + coded.latent_dist.std.to(image.dtype) * noise
        return latent * self._scale

    def decode(self, latent: Tensor) -> Tensor:
        """Return pictures (B, 3, H, W) in [0, 1] of latents (B, C, H / stride, W / stride)."""
        scaled = (latent / self._scale).to(self._dtype)
        picture: Tensor = self._autoencoder.decode(scaled).sample.to(latent.dtype)
        return (picture / 2 + 0.5).clamp(0, 1)

    def cells(self, mask: Tensor) -> Tensor:
        """Return the mask on the latent grid, (B, 1, H / stride, W / stride) (`to_latent`)."""
        return to_latent(mask, self.stride)

    def loss_weight(self, step: Tensor) -> Tensor:
        """Return 1 for every step, (B, 1, 1, 1), as the paper weighs them."""
        return torch.ones(len(step), 1, 1, 1, device=step.device)

    def word(self, text: str) -> Tensor:
        """Return the vector of a word in the text encoder's vocabulary, (token_width,)."""
        return self._reader.word(text)

    def context(self, tokens: Tensor | None, count: int, prompt: str = TEMPLATES[0]) -> Context:
        """Return the text encoder's output for a prompt whose `*` is the learned tokens.

        tokens: (count, N, token_width), or (1, N, token_width) for all; None = the empty prompt.

        Raises:
            ConfigError: the prompt has not exactly one `*`, or there is no room for N tokens in it.
        """
        return self._reader.read(tokens, count, prompt)

    def predict_noise(
        self, noisy: Tensor, step: Tensor, context: Context, scene: Scene | None = None
    ) -> Tensor:
        """Return the noise (B, C, h, w) in noisy latents; the scene is not looked at.

        noisy: (B, C, h, w); step: int64 (B,) in [0, T).
        """
        del scene  # trained on plain pictures
        words = context.tokens.to(self._dtype)
        output = self._unet(noisy.to(self._dtype), step, encoder_hidden_states=words).sample
        return noise_of(output.to(noisy.dtype), noisy, kept_at(self.kept, step), self._prediction)

    def attention_modules(self) -> nn.Module:
        """Return the U-Net."""
        unet: nn.Module = self._unet
        return unet


def _prediction(name: str) -> str:
    if name not in PREDICTIONS:
        raise ArtifactError(f"prediction_type is {name!r}, expected one of {', '.join(PREDICTIONS)}")
    return name
