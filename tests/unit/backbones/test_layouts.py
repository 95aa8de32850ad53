import json
import sys
from pathlib import Path

import diffusers
import pytest
from safetensors.torch import load_file, save_file

from blemish.backbones.layouts import build_networks, load_parts
from blemish.errors import ArtifactError, DependencyError
from tiny_backbones import UNET, write_ldm, write_stable

AUTOENCODER = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
}
UNET_1280 = {
    "_class_name": "UNet2DConditionModel",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 1280,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "sample_size": 32,
}
LDM = {
    "vqvae": AUTOENCODER,
    "unet": UNET_1280,
    "bert": {
        "vocab_size": 30522,
        "max_position_embeddings": 77,
        "encoder_layers": 32,
        "encoder_ffn_dim": 5120,
        "encoder_attention_heads": 8,
        "head_dim": 64,
        "d_model": 1280,
    },
}
STABLE = {
    "vae": AUTOENCODER,
    "unet": UNET_1280 | {"cross_attention_dim": 768, "sample_size": 64},
    "text_encoder": {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "projection_dim": 768,
    },
}


def write_settings(folder: Path, settings: dict[str, dict[str, object]]) -> Path:
    for part, config in settings.items():
        (folder / part).mkdir()
        (folder / part / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


# U-Nets: 872.30 M and 860 M, say the model cards. LDM's text encoder by hand: (30522 + 77) * 1280 in
# tables, 32 layers of 15,741,440, and 2560 in the last normalisation.
@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        (LDM, (83_653_863, 872_300_484, 542_895_360)),
        (STABLE, (83_653_863, 859_520_964, 123_060_480)),
    ],
    ids=["ldm", "stable"],
)
def test_the_published_settings_build_networks_of_the_published_size(tmp_path, settings, counts):
    networks = build_networks(write_settings(tmp_path, settings))
    found = tuple(sum(w.numel() for w in network.parameters()) for network in networks)
    assert found == counts


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "unet").mkdir()
    with pytest.raises(ArtifactError, match="neither the folders vqvae"):
        load_parts(tmp_path)


@pytest.mark.parametrize("write", [write_ldm, write_stable], ids=["ldm", "stable"])
@pytest.mark.parametrize("part", ["autoencoder", "unet", "encoder"])
def test_a_network_that_lacks_a_weight_is_refused(tmp_path, write, part):
    folder = write(tmp_path)
    places = {
        "unet": ["unet"],
        "autoencoder": ["vqvae", "vae"],
        "encoder": ["bert", "text_encoder"],
    }[part]
    (file,) = (f for place in places for f in folder.glob(f"{place}/*.safetensors"))
    weights = load_file(file)
    del weights[max(weights)]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_parts(folder)


def test_a_damaged_file_is_refused(tmp_path):
    file = write_ldm(tmp_path) / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_parts(tmp_path)


@pytest.mark.parametrize(
    "file",
    [
        "unet/config.json",
        "vqvae/config.json",
        "bert/config.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_missing_file_is_refused(tmp_path, file):
    (write_ldm(tmp_path) / file).unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_parts(tmp_path)


def test_a_tokenizer_without_its_words_is_refused(tmp_path):
    (write_ldm(tmp_path) / "tokenizer" / "vocab.txt").unlink()
    with pytest.raises(ArtifactError, match="tokenizer"):
        load_parts(tmp_path)


def test_an_autoencoder_of_another_kind_is_refused_by_name(tmp_path):
    config = write_ldm(tmp_path) / "vqvae" / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(settings | {"_class_name": "AutoencoderTiny"}), encoding="utf-8")
    with pytest.raises(ArtifactError, match="holds a AutoencoderTiny, expected AutoencoderKL"):
        load_parts(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"in_channels": 9}, "channels in"),
        ({"cross_attention_dim": 12}, "width of the context"),
        ({"class_embed_type": "timestep"}, "more than a step and a text"),
    ],
)
def test_a_network_that_needs_other_inputs_is_refused(tmp_path, change, words):
    folder = write_stable(tmp_path)
    diffusers.UNet2DConditionModel(**UNET | change).save_pretrained(folder / "unet")
    with pytest.raises(ArtifactError, match=words):
        load_parts(folder)


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    folder = write_stable(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(DependencyError, match=r"blemish\[pretrained\]"):
        load_parts(folder)
