import pytest
import torch
from diffusers import DDIMScheduler

from blemish.backbones.scheduler import PREDICTIONS, kept_of, noise_of
from blemish.diffusion import add_noise, kept_at
from blemish.errors import ArtifactError

LATENT_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        LATENT_DIFFUSION,
        {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 400},
        {"trained_betas": [0.1, 0.2, 0.4]},
        LATENT_DIFFUSION | {"rescale_betas_zero_snr": True},
    ],
)
def test_kept_is_that_of_the_scheduler_of_diffusers(settings):
    kept = kept_of(settings)
    assert kept.dtype == torch.float64
    expected = DDIMScheduler(**settings).alphas_cumprod.double()
    torch.testing.assert_close(kept, expected, rtol=1e-3, atol=1e-7)


def test_kept_of_latent_diffusion_has_the_values_of_the_paper():
    kept = kept_of(LATENT_DIFFUSION)[[200, 400, 600, 999]]
    expected = torch.tensor([0.754, 0.425, 0.161, 0.0047], dtype=torch.float64)
    torch.testing.assert_close(kept, expected, rtol=0.01, atol=0)


def test_an_unknown_schedule_is_refused_by_name():
    with pytest.raises(ArtifactError, match="sigmoid"):
        kept_of({"beta_schedule": "sigmoid"})


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_perfect_network_of_any_kind_gives_the_noise_back(prediction):
    clean, noise = torch.randn(2, 3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    step = torch.tensor([10, 500, 999])
    scheduler = DDIMScheduler(**LATENT_DIFFUSION)
    noisy = scheduler.add_noise(clean, noise, step)
    output = {
        "epsilon": noise,
        "v_prediction": scheduler.get_velocity(clean, noise, step),
        "sample": clean,
    }[prediction]
    kept = kept_at(kept_of(LATENT_DIFFUSION), step)
    found = noise_of(output, noisy, kept, prediction)
    torch.testing.assert_close(found, noise, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(add_noise(clean, found, kept), noisy, rtol=1e-4, atol=1e-4)
