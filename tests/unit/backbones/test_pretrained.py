import itertools

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    LDMTextToImagePipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    VQModel,
)
from diffusers.pipelines.latent_diffusion import LDMBertModel
from transformers import BertTokenizer, CLIPTextModel, CLIPTokenizer

from blemish.backbones.layouts import load_parts
from blemish.backbones.pretrained import Pretrained
from blemish.backbones.protocol import Scene
from blemish.diffusion import add_noise, kept_at, predict_clean
from blemish.errors import ArtifactError
from blemish.randomness import generator
from tiny_backbones import AUTOENCODER, LENGTH, WIDTH, write_ldm, write_stable

CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_stable(tmp_path_factory.mktemp("stable"))


@pytest.fixture(scope="module")
def backbone(folder):
    return Pretrained.load(folder, **CPU)


@pytest.fixture(scope="module")
def image():
    return torch.rand(2, 3, 64, 64, generator=generator(0, "image"))


@pytest.fixture(scope="module")
def noisy():
    return torch.randn(2, 4, 8, 8, generator=generator(0, "noisy"))


def ldm_pipeline(folder):
    return LDMTextToImagePipeline(
        vqvae=AutoencoderKL.from_pretrained(folder / "vqvae"),
        bert=LDMBertModel.from_pretrained(folder / "bert").eval(),
        tokenizer=BertTokenizer.from_pretrained(folder / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
    )


def stable_pipeline(folder):
    return StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def ddim(backbone, noisy, context, steps):
    """Return what the deterministic sampler of Song et al. 2021 makes of noise."""
    for step, following in itertools.pairwise([*steps, 0]):
        now = torch.full((len(noisy),), step)
        noise = backbone.predict_noise(noisy, now, context)
        clean = predict_clean(noisy, noise, kept_at(backbone.kept, now))
        noisy = add_noise(clean, noise, kept_at(backbone.kept, torch.full_like(now, following)))
    return noisy


@pytest.mark.parametrize(
    ("write", "pipeline"),
    [(write_ldm, ldm_pipeline), (write_stable, stable_pipeline)],
    ids=["ldm", "stable"],
)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_whole_sample_is_that_of_the_pipeline_of_diffusers(
    tmp_path, noisy, write, pipeline, prediction
):
    folder = write(tmp_path, prediction_type=prediction)
    reference = pipeline(folder)
    reference.set_progress_bar_config(disable=True)
    pictures = reference(
        prompt=["", ""], guidance_scale=1.0, num_inference_steps=5, latents=noisy, output_type="np"
    ).images
    expected = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    backbone = Pretrained.load(folder, **CPU)
    with torch.no_grad():
        latent = ddim(backbone, noisy, backbone.context(None, 2), [801, 601, 401, 201, 1])
        found = backbone.decode(latent)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_the_sizes_are_those_of_the_networks(backbone):
    sizes = (backbone.size, backbone.stride, backbone.channels, backbone.token_width)
    assert sizes == (64, 8, 4, WIDTH)
    assert backbone.context(None, 1).tokens.shape == (1, LENGTH, WIDTH)


def test_the_predicted_noise_is_the_output_of_a_network_that_predicts_noise(backbone, folder, noisy):
    context = backbone.context(torch.ones(2, 3, WIDTH), 2)
    step = torch.tensor([7, 900])
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    expected = unet(noisy, step, encoder_hidden_states=context.tokens).sample
    assert torch.equal(backbone.predict_noise(noisy, step, context), expected)


def test_the_scene_is_left_alone(backbone, noisy):
    context, step = backbone.context(None, 2), torch.tensor([7, 900])
    without = backbone.predict_noise(noisy, step, context)
    within = backbone.predict_noise(noisy, step, context, Scene(noisy, noisy[:, :1]))
    assert torch.equal(within, without)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_the_noise_of_another_prediction_explains_the_schedulers_clean_latent(
    tmp_path, noisy, prediction
):
    backbone = Pretrained.load(write_stable(tmp_path, prediction_type=prediction), **CPU)
    context, step = backbone.context(None, 2), torch.tensor([300, 300])
    noise = backbone.predict_noise(noisy, step, context)
    output = backbone.attention_modules()(noisy, step, encoder_hidden_states=context.tokens).sample
    scheduler = DDIMScheduler.from_pretrained(tmp_path / "scheduler")
    scheduler.set_timesteps(10)
    expected = scheduler.step(output, 300, noisy).pred_original_sample
    clean = predict_clean(noisy, noise, kept_at(backbone.kept, step))
    torch.testing.assert_close(clean, expected, rtol=1e-4, atol=1e-4)


def test_an_unknown_prediction_is_refused_by_name(tmp_path):
    parts = load_parts(write_stable(tmp_path))
    parts.scheduler["prediction_type"] = "flow"
    with pytest.raises(ArtifactError, match="'flow', expected one of epsilon"):
        Pretrained(parts, **CPU)


def drawn(image):
    """Give the noise that diffusers would draw from a stream of its own."""
    return lambda shape: torch.randn((len(image), *shape), generator=generator(5))


def test_encoding_takes_the_mean_or_draws_as_diffusers_does(backbone, folder, image):
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae")
    posterior = autoencoder.encode(2 * image - 1).latent_dist
    scale = autoencoder.config.scaling_factor
    torch.testing.assert_close(backbone.encode(image), posterior.mode() * scale)
    expected = posterior.sample(generator(5)) * scale
    torch.testing.assert_close(backbone.encode(image, drawn(image)), expected)
    assert not torch.allclose(expected, posterior.mode() * scale)


def test_decoding_is_that_of_the_autoencoder_in_the_range_of_pictures(backbone, folder, noisy):
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae")
    raw = autoencoder.decode(noisy / autoencoder.config.scaling_factor).sample
    torch.testing.assert_close(backbone.decode(noisy), ((raw + 1) / 2).clamp(0, 1))


def test_an_autoencoder_with_a_codebook_has_no_chance_in_it(tmp_path, image):
    folder = write_ldm(tmp_path)
    autoencoder = VQModel(**AUTOENCODER).eval()
    autoencoder.save_pretrained(folder / "vqvae")
    backbone = Pretrained.load(folder, **CPU)
    expected = autoencoder.encode(2 * image - 1).latents * autoencoder.config.scaling_factor
    torch.testing.assert_close(backbone.encode(image), expected)
    torch.testing.assert_close(backbone.encode(image, drawn(image)), expected)


@pytest.mark.parametrize("write", [write_ldm, write_stable], ids=["ldm", "stable"])
def test_no_part_learns_and_every_part_has_the_number_format_asked_for(tmp_path, write):
    parts = load_parts(write(tmp_path))
    Pretrained(parts, device=torch.device("cpu"), dtype=torch.bfloat16)
    for network in (parts.autoencoder, parts.unet, parts.encoder):
        assert not any(module.training for module in network.modules())
        assert {(w.requires_grad, w.dtype) for w in network.parameters()} == {(False, torch.bfloat16)}
