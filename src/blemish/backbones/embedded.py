"""Our own small backbone: no download, two processor cores, crops at the photo's own resolution."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blemish import hardware, randomness, runtime
from blemish.backbones.protocol import TEMPLATES, Context, Draw, Scene
from blemish.backbones.scheduler import kept_of
from blemish.diffusion import implied_noise, kept_at
from blemish.errors import ArtifactError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

KIND = "BlemishEmbedded"
SCHEDULE = {
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 2e-2,
    "num_train_timesteps": 1000,
}
CLEAREST = 5.0
"""The most that an error of the clean image counts, in units of its weight in pure noise."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the network is.

    size: side of the square picture, pixels. patch: side of the patches that are folded into channels.
    widths: channels at each halving of the grid. token_width: width of one learned token.
    """

    size: int = 128
    patch: int = 4
    widths: tuple[int, ...] = (64, 128, 192)
    token_width: int = 128
    head_width: int = 32


class PixelCodec(nn.Module):
    """Latents that are the pixels themselves, folded into patches: lossless, and without a network.

    What is painted is exactly what was meant, and a mask is obeyed to the pixel. Brightness and
    contrast are those of the product (`standardise`), so that faint surfaces do not drown in noise.
    """

    kept: Tensor
    level: Tensor
    spread: Tensor

    def __init__(self, size: int = 128, patch: int = 4) -> None:
        super().__init__()
        self.size, self.stride, self.channels = size, patch, 3 * patch**2
        self.register_buffer("kept", kept_of(SCHEDULE), persistent=False)
        self.register_buffer("level", torch.tensor(0.5))
        self.register_buffer("spread", torch.tensor(0.25))

    def standardise(self, images: Iterable[Tensor]) -> None:
        """Make latents of these pictures, each (3, H, W) in [0, 1], have mean 0 and variance 1."""
        count, total, squares = 0, 0.0, 0.0
        for image in images:
            count += image.numel()
            total += float(image.sum(dtype=torch.float64))
            squares += float(image.double().square().sum())
        variance = (squares - total**2 / count) / (count - 1)
        self.level.fill_(total / count)
        self.spread.fill_(max(max(variance, 0.0) ** 0.5, 1e-3))

    def encode(self, image: Tensor, draw: Draw | None = None) -> Tensor:
        """Return latents (B, 3 p^2, H / p, W / p) of pictures (B, 3, H, W) in [0, 1]."""
        del draw  # a lossless codec has nothing to draw
        return F.pixel_unshuffle((image - self.level) / self.spread, self.stride)

    def decode(self, latent: Tensor) -> Tensor:
        """Return pictures (B, 3, H, W) in [0, 1] of latents (B, 3 p^2, H / p, W / p)."""
        return self.pixels(latent).clamp(0, 1)

    def pixels(self, latent: Tensor) -> Tensor:
        """Return the pixels (B, 3, H, W) of latents, in [0, 1] only where the picture is."""
        return F.pixel_shuffle(latent, self.stride) * self.spread + self.level

    def cells(self, mask: Tensor) -> Tensor:
        """Return a mask (B, 1, H, W) as latents see it, to the pixel: (B, 3 p^2, H / p, W / p)."""
        return F.pixel_unshuffle(mask.expand(-1, 3, -1, -1), self.stride)


class Embedded(PixelCodec):
    """A `LatentBackbone` on the codec's patches.

    The network sees, beside the noisy patches, the photo around the mask and the mask, and predicts the
    clean patches: white noise in 48 channels does not fit through a narrow network, a clean picture
    does.
    """

    def __init__(self, network: UNet2DConditionModel) -> None:
        stride = math.isqrt(network.config.out_channels // 3)
        super().__init__(network.config.sample_size * stride, stride)
        self.network = network
        self.token_width: int = network.config.cross_attention_dim
        self.dtype = torch.float32
        self.requires_grad_(requires_grad=False).eval()

    @classmethod
    def fresh(cls, shape: Shape, seed: int) -> Self:
        """Return an untrained backbone, its weights drawn from the seed."""
        from diffusers import UNet2DConditionModel

        channels, plain = 3 * shape.patch**2, len(shape.widths) - 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(randomness.stream_seed(seed, "embedded backbone"))
            network = UNet2DConditionModel(
                sample_size=shape.size // shape.patch,
                in_channels=3 * channels,
                out_channels=channels,
                block_out_channels=shape.widths,
                down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * plain),
                up_block_types=(*["CrossAttnUpBlock2D"] * plain, "UpBlock2D"),
                layers_per_block=1,
                cross_attention_dim=shape.token_width,
                attention_head_dim=tuple(width // shape.head_width for width in shape.widths),
                norm_num_groups=16,
            )
        return cls(network)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the backbone saved in a folder; its weights stay float32, `dtype` is its arithmetic's.

        Raises:
            ArtifactError: the folder is no such backbone, or is damaged.
        """
        from diffusers import UNet2DConditionModel

        try:
            index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
            network = UNet2DConditionModel.from_pretrained(
                folder / "unet",
                use_safetensors=True,
                local_files_only=True,
                torch_dtype=torch.float32,
            )
            backbone = cls(network)
            backbone.level.fill_(index["level"])
            backbone.spread.fill_(index["spread"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{folder} holds no embedded backbone: {error}",
                hint="copy the folder again, whole",
            ) from error
        backbone.dtype = dtype
        return backbone.to(device).to(memory_format=torch.channels_last)

    def save(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        """Write network and schedule to a folder in diffusers' layout, the weights in this format."""
        index = {
            "_class_name": KIND,
            "level": float(self.level),
            "spread": float(self.spread),
            "unet": ["diffusers", "UNet2DConditionModel"],
            "scheduler": ["diffusers", "DDIMScheduler"],
        }
        schedule = {"_class_name": "DDIMScheduler", "prediction_type": "sample", **SCHEDULE}
        network = self.network if dtype == torch.float32 else copy.deepcopy(self.network).to(dtype)
        network.save_pretrained(folder / "unet")
        runtime.write_json(folder / "scheduler" / "scheduler_config.json", schedule)
        runtime.write_json(folder / "model_index.json", index)

    def word(self, text: str) -> Tensor:
        """Return zeros (token_width,): this backbone knows no words."""
        del text
        return torch.zeros(self.token_width, device=self.level.device)

    def context(self, tokens: Tensor | None, count: int, prompt: str = TEMPLATES[0]) -> Context:
        """Return the learned tokens as they are; the null context is one token of zeros."""
        del prompt
        if tokens is None:
            return Context(self.level.new_zeros(count, 1, self.token_width), slice(0, 0))
        return Context(tokens.expand(count, -1, -1), slice(0, tokens.shape[1]))

    def predict_noise(
        self, noisy: Tensor, step: Tensor, context: Context, scene: Scene | None = None
    ) -> Tensor:
        """Return the noise (B, C, h, w) that the predicted clean patches imply.

        noisy: (B, C, h, w); step: int64 (B,); scene: what is around the mask. None: nothing is known.
        """
        if scene is None:
            around, mask = torch.zeros_like(noisy), torch.ones_like(noisy)
        else:
            mask = scene.mask.expand_as(noisy)
            around = scene.clean * (1 - mask)
        seen = torch.cat([noisy, around, mask], dim=1).contiguous(memory_format=torch.channels_last)
        with hardware.autocast(noisy.device, self.dtype):
            clean: Tensor = self.network(seen, step, encoder_hidden_states=context.tokens).sample
        return implied_noise(noisy, clean.float(), kept_at(self.kept, step))

    def loss_weight(self, step: Tensor) -> Tensor:
        """Return what an error of the noise counts in training at each step, (B, 1, 1, 1).

            w = min(1 / (1 - ab), 5) * (1 - ab) / ab

        On the clean image that is 1 / (1 - ab), as the velocity's loss has it, clipped: near the end
        there is little left to learn.
        """
        kept = kept_at(self.kept, step)
        return (1 / (1 - kept)).clamp(max=CLEAREST) * (1 - kept) / kept

    def attention_modules(self) -> nn.Module:
        """Return the U-Net."""
        network: nn.Module = self.network
        return network
