"""Pretrained backbones of a few thousand random weights, in folders that diffusers itself writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig, LDMBertModel
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.utils import logging

from blemish.backbones.embedded import Embedded, Shape

logging.disable_progress_bar()

LENGTH = 77  # LDM's pipeline takes no other
WIDTH = 8
WORDS = ("a", "of", "the", "photo", "with", "rust", "scratch", "surface", "on", "it")
AUTOENCODER: dict[str, Any] = {
    "block_out_channels": (4, 4, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "norm_num_groups": 4,
    "latent_channels": 4,
}
UNET: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "cross_attention_dim": WIDTH,
}
SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def write_ldm(folder: Path, **scheduler: Any) -> Path:
    """Write a folder in the layout of LDM text2im-large-256; return it."""
    torch.manual_seed(1)
    config = LDMBertConfig(
        vocab_size=5 + len(WORDS),
        max_position_embeddings=LENGTH,
        encoder_layers=2,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        head_dim=4,
        d_model=WIDTH,
        init_std=0.5,
    )
    LDMBertModel(config).save_pretrained(folder / "bert")
    _write_networks(folder, "vqvae", **scheduler)
    tokenizer = _tokenizer(folder)
    vocabulary = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
    (tokenizer / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    return folder


def write_stable(folder: Path, **scheduler: Any) -> Path:
    """Write a folder in the layout of Stable Diffusion 1.x; return it."""
    torch.manual_seed(2)
    vocabulary, merges = _byte_pairs()
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
    )
    encoder = CLIPTextModel(config)
    for weights in encoder.parameters():
        torch.nn.init.normal_(weights, std=0.5)
    encoder.save_pretrained(folder / "text_encoder")
    _write_networks(folder, "vae", **scheduler)
    tokenizer = _tokenizer(folder)
    (tokenizer / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (tokenizer / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    return folder


def _write_networks(folder: Path, autoencoder: str, **scheduler: Any) -> None:
    AutoencoderKL(**AUTOENCODER).save_pretrained(folder / autoencoder)
    UNet2DConditionModel(**UNET).save_pretrained(folder / "unet")
    DDIMScheduler(**SCHEDULER | scheduler).save_pretrained(folder / "scheduler")


def _tokenizer(folder: Path) -> Path:
    place = folder / "tokenizer"
    place.mkdir()
    settings = json.dumps({"model_max_length": LENGTH})
    (place / "tokenizer_config.json").write_text(settings, encoding="utf-8")
    return place


def _byte_pairs() -> tuple[dict[str, int], list[str]]:
    """Return a vocabulary and merges of CLIP's tokenizer in which each of `WORDS` is one token."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = letters + [f"{letter}</w>" for letter in letters]
    merges = []
    for word in WORDS:
        left, *rest = [*word[:-1], f"{word[-1]}</w>"]
        for right in rest:
            merges.append(f"{left} {right}")
            left += right
            tokens.append(left)
    tokens = list(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))
    return {token: index for index, token in enumerate(tokens)}, list(dict.fromkeys(merges))


def write_embedded(folder: Path) -> Path:
    """Write our own small backbone, and return its folder."""
    Embedded.fresh(Shape(size=32, patch=2, widths=(16, 32), token_width=WIDTH, head_width=8), 0).save(
        folder
    )
    return folder
