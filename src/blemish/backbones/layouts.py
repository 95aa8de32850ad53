"""The two layouts of a pretrained model's folder, as diffusers writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
from safetensors import SafetensorError

from blemish.errors import ArtifactError, DependencyError


class Parts(NamedTuple):
    """A pretrained model taken apart: networks, tokenizer, settings of the scheduler."""

    autoencoder: Any
    unet: Any
    encoder: Any
    tokenizer: Any
    scheduler: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which folder holds what. classes: imports and returns those of the text encoder and tokenizer."""

    autoencoder: str
    encoder: str
    classes: Callable[[], tuple[Any, Any]]

    def is_in(self, folder: Path) -> bool:
        """Return whether a folder has this layout."""
        return all((folder / part).is_dir() for part in (self.autoencoder, self.encoder, "unet"))


def _ldm_classes() -> tuple[Any, Any]:
    from diffusers.pipelines.latent_diffusion import LDMBertModel
    from transformers import BertTokenizer

    return LDMBertModel, BertTokenizer


def _stable_classes() -> tuple[Any, Any]:
    from transformers import CLIPTextModel, CLIPTokenizer

    return CLIPTextModel, CLIPTokenizer


LAYOUTS = (
    Layout("vqvae", "bert", _ldm_classes),
    Layout("vae", "text_encoder", _stable_classes),
)


def layout_of(folder: Path) -> Layout:
    """Return the layout of a pretrained model's folder.

    Raises:
        ArtifactError: it has none of the known layouts.
    """
    for layout in LAYOUTS:
        if layout.is_in(folder):
            return layout
    raise ArtifactError(
        f"{folder} has neither the folders vqvae, bert and unet nor vae, text_encoder and unet",
        hint="give a folder that diffusers wrote: LDM text2im-large-256 or Stable Diffusion 1.x",
    )


def load_parts(folder: Path) -> Parts:
    """Return the parts of a pretrained model from a folder, on the CPU in the files' number format.

    Only files of this folder are read, and nothing in them can run code.

    Raises:
        ArtifactError: a part is missing or damaged, or the parts do not belong together.
        DependencyError: transformers is not installed.
    """
    layout = layout_of(folder)
    pictures = folder / layout.autoencoder
    encoder_class, tokenizer_class = _text_classes(layout)
    try:
        encoder = _load(encoder_class, folder / layout.encoder)
        tokenizer = tokenizer_class.from_pretrained(folder / "tokenizer", local_files_only=True)
        autoencoder = _load(_autoencoder_class(pictures), pictures)
        unet = _load(diffusers.UNet2DConditionModel, folder / "unet")
    except (OSError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            f"{folder} cannot be read: {error}", hint="copy or download the whole folder again"
        ) from error
    scheduler = _settings(folder / "scheduler", "scheduler_config.json")
    parts = Parts(autoencoder, unet, _without_head(encoder), tokenizer, scheduler)
    _require_belonging(parts, folder)
    return parts


def build_networks(folder: Path) -> tuple[Any, Any, Any]:
    """Return autoencoder, U-Net and text encoder of a folder without their weights, on the meta device.

    Raises:
        ArtifactError: the settings of a network are missing.
        DependencyError: transformers is not installed.
    """
    layout = layout_of(folder)
    pictures = folder / layout.autoencoder
    encoder_class, _ = _text_classes(layout)
    with torch.device("meta"):
        encoder = encoder_class(encoder_class.config_class(**_settings(folder / layout.encoder)))
        autoencoder = _autoencoder_class(pictures).from_config(_settings(pictures))
        unet = diffusers.UNet2DConditionModel.from_config(_settings(folder / "unet"))
    return autoencoder, unet, _without_head(encoder)


def _load(kind: Any, folder: Path) -> Any:
    _settings(folder)  # without them transformers would build its default, of half a billion weights
    model, report = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ValueError(f"{folder.name} lacks {len(missing)} weights, such as {missing[0]}")
    return model


def _text_classes(layout: Layout) -> tuple[Any, Any]:
    try:
        return layout.classes()
    except ImportError as error:
        raise DependencyError(
            "the text encoder of a pretrained backbone needs transformers",
            hint='pip install "blemish[pretrained]"',
        ) from error


def _autoencoder_class(folder: Path) -> Any:
    known = {"AutoencoderKL": diffusers.AutoencoderKL, "VQModel": diffusers.VQModel}
    name = _settings(folder).get("_class_name")
    if name not in known:
        raise ArtifactError(f"{folder} holds a {name}, expected {' or '.join(known)}")
    return known[name]


def _without_head(encoder: Any) -> Any:
    """Return the encoder alone: LDM's text model has a layer that guesses words, which nobody asks."""
    return encoder.model if hasattr(encoder, "to_logits") else encoder


def _settings(folder: Path, name: str = "config.json") -> dict[str, Any]:
    try:
        return dict(json.loads((folder / name).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder / name} cannot be read", hint="copy or download the whole folder again"
        ) from error


def _require_belonging(parts: Parts, folder: Path) -> None:
    known, words = len(parts.tokenizer), parts.encoder.config.vocab_size
    if known != words:
        raise ArtifactError(
            f"the tokenizer of {folder} knows {known} words, its text encoder {words}",
            hint="copy or download the whole folder again",
        )
    unet, channels = parts.unet.config, parts.autoencoder.config.latent_channels
    found = (unet.in_channels, unet.out_channels, unet.cross_attention_dim)
    expected = (channels, channels, parts.encoder.config.hidden_size)
    if found != expected:
        raise ArtifactError(
            f"the U-Net of {folder} has {found} channels in, channels out and width of the context, "
            f"expected {expected}",
            hint="give a text-to-image model; inpainting and depth models read other inputs",
        )
    if unet.addition_embed_type is not None or unet.class_embed_type is not None:
        raise ArtifactError(
            f"the U-Net of {folder} needs more than a step and a text",
            hint="give LDM text2im-large-256 or Stable Diffusion 1.x; XL models are not supported",
        )
