from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from blemish.diffusion import (
    DDIMSolver,
    MultistepSolver,
    Solver,
    ddim_step,
    extrapolate,
    implied_noise,
    linear_kept,
    posterior_step,
    predict_clean,
    scaled_linear_kept,
    spaced_steps,
)
from blemish.errors import ConfigError

KEPT = scaled_linear_kept()
MEAN, VARIANCE = 0.8, 0.25


def latents(count: int, seed: int = 0) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 4, 6, 6, generator=rng) for _ in range(count)]


def solvers(count: int) -> list[Solver]:
    return [
        DDIMSolver(KEPT, count),
        DDIMSolver(KEPT, count, eta=0),
        MultistepSolver(KEPT, count),
        MultistepSolver(KEPT, count, eta=1),
    ]


def exact_noise(noisy: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return the noise that the best of all networks predicts where images are Gaussian."""
    total = kept * VARIANCE + 1 - kept
    clean = MEAN + kept.sqrt() * VARIANCE / total * (noisy - kept.sqrt() * MEAN)
    return implied_noise(noisy, clean, kept)


def run(solver: Solver, noisy: torch.Tensor, seed: int = 7) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    for index in range(len(solver.steps)):
        fresh = torch.randn(noisy.shape, generator=rng)
        noisy, _ = solver.advance(exact_noise(noisy, solver.kept[index]), index, noisy, fresh)
    return noisy


@pytest.mark.parametrize("count", [2, 8, 50, 300, 998, 1000])
def test_evenly_spaced_steps_are_those_of_diffusers(count):
    theirs = DDIMScheduler(1000, timestep_spacing="linspace")
    theirs.set_timesteps(count)
    assert spaced_steps(1000, count, power=1) == theirs.timesteps.tolist()


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("count", [1, 2, 30, 77, 99, 100])
def test_no_step_is_taken_twice_and_the_first_is_the_noisiest(count, power):
    steps = spaced_steps(100, count, power)
    assert len(set(steps)) == count
    assert steps == sorted(steps, reverse=True)
    assert steps[0] == 99
    assert count == 1 or steps[-1] == 0


def test_quadratic_steps_by_hand():
    assert spaced_steps(1000, 4) == [999, 444, 111, 0]


def test_more_steps_than_the_training_had_are_refused():
    with pytest.raises(ConfigError, match=r"0 sampling steps: expected 1 to 10.*\n  hint: "):
        spaced_steps(10, 0)
    for solver in (DDIMSolver, MultistepSolver):
        with pytest.raises(ConfigError, match="1001 sampling steps"):
            solver(KEPT, 1001)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("step", [999, 499, 9, 4])
def test_a_step_is_that_of_the_ddim_scheduler_of_diffusers(eta, step):
    theirs = DDIMScheduler(1000, 8.5e-4, 1.2e-2, "scaled_linear", clip_sample=False)
    theirs.set_timesteps(200)
    noisy, noise, fresh = latents(3)
    expected = theirs.step(noise, step, noisy, eta=eta, variance_noise=fresh)
    clean = predict_clean(noisy, noise, KEPT[step])
    before = KEPT[step - 5] if step >= 5 else torch.ones(())
    found = ddim_step(noisy, clean, KEPT[step], before, eta, fresh)
    torch.testing.assert_close(found, expected.prev_sample, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(clean, expected.pred_original_sample, rtol=1e-3, atol=1e-4)


def test_between_neighbouring_steps_eta_one_is_the_ancestral_step():
    noisy, clean, fresh = (latent.double() for latent in latents(3))
    kept = linear_kept()
    found = ddim_step(noisy, clean, kept[400], kept[399], 1.0, fresh)
    torch.testing.assert_close(found, posterior_step(noisy, clean, kept[400], kept[399], fresh))


def test_the_true_clean_image_keeps_its_noise_without_eta():
    clean, noise = (latent.double() for latent in latents(2))
    now, before = KEPT[600], KEPT[300]
    noisy = now.sqrt() * clean + (1 - now).sqrt() * noise
    expected = before.sqrt() * clean + (1 - before).sqrt() * noise
    torch.testing.assert_close(ddim_step(noisy, clean, now, before), expected)


@pytest.mark.parametrize("which", range(4))
def test_the_last_step_returns_the_clean_image_that_is_expected(which):
    solver = solvers(4)[which]
    noisy, noise, fresh = latents(3)
    for index in range(4):
        noisy, clean = solver.advance(noise, index, noisy, fresh)
    torch.testing.assert_close(noisy, clean, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("which", range(4))
def test_the_clean_image_is_the_one_step_estimate_at_the_level_that_the_solver_names(which):
    solver = solvers(10)[which]
    noisy, noise, fresh = latents(3)
    assert solver.kept.tolist() == [*KEPT[solver.steps].tolist(), 1.0]
    _, clean = solver.advance(noise, 0, noisy, fresh)
    torch.testing.assert_close(clean, predict_clean(noisy, noise, KEPT[solver.steps[0]]))


@pytest.mark.parametrize(("algorithm", "eta"), [("dpmsolver++", 0.0), ("sde-dpmsolver++", 1.0)])
@pytest.mark.parametrize("count", [1, 2, 6, 20])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_multistep_run_is_that_of_the_scheduler_of_diffusers(algorithm, eta, count):
    betas = 1 - KEPT / torch.cat([torch.ones(1), KEPT[:-1]])
    theirs = DPMSolverMultistepScheduler(1000, trained_betas=betas.tolist(), algorithm_type=algorithm)
    ours = MultistepSolver(KEPT, count, eta)
    theirs.set_timesteps(timesteps=ours.steps)
    found = expected = latents(1)[0]
    for index, step in enumerate(ours.steps):
        noise, fresh = latents(2, seed=index + 1)
        found, _ = ours.advance(noise, index, found, fresh)
        expected = theirs.step(noise, step, expected, variance_noise=fresh).prev_sample
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_what_changes_evenly_with_the_signal_to_noise_is_extrapolated_to_half_way():
    after, now, before = KEPT[900], KEPT[700], KEPT[400]
    slope = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    found = extrapolate(slope * now.logit(), slope * after.logit(), now, after, before)
    torch.testing.assert_close(found, slope * (now.logit() + before.logit()) / 2)


def test_with_the_best_network_twenty_multistep_steps_come_closer_to_the_truth_than_fifty_of_ddim():
    noisy = latents(1)[0]
    start = KEPT[-1]
    total = start * VARIANCE + 1 - start
    truth = MEAN + (noisy - start.sqrt() * MEAN) * (VARIANCE / total).sqrt()
    fast = (run(MultistepSolver(KEPT, 20), noisy) - truth).abs().max()
    slow = (run(DDIMSolver(KEPT, 50, eta=0), noisy) - truth).abs().max()
    exact = (run(DDIMSolver(KEPT, 1000, eta=0), noisy) - truth).abs().max()
    assert float(fast) < 0.7 * float(slow)
    assert float(exact) < 0.02


@pytest.mark.parametrize("which", range(4))
def test_with_the_best_network_the_images_have_the_right_mean_and_spread(which):
    noisy = torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(3))
    found = run(solvers(100)[which], noisy)
    assert float(found.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(found.std()) == pytest.approx(VARIANCE**0.5, abs=0.025)


@pytest.mark.parametrize("which", range(4))
def test_a_second_run_is_the_first_again(which):
    solver, noisy = solvers(5)[which], latents(1)[0]
    first = run(solver, noisy)
    solver.advance(noisy, 0, noisy, noisy)  # a run that is given up
    assert torch.equal(run(solver, noisy), first)


@pytest.mark.parametrize("which", range(4))
def test_an_image_does_not_depend_on_its_neighbours_in_the_batch(which):
    noisy, noise, fresh = latents(3)
    together, alone = noisy, noisy[:1]
    solver, other = solvers(3)[which], solvers(3)[which]
    for index in range(3):
        together, _ = solver.advance(noise, index, together, fresh)
        alone, _ = other.advance(noise[:1], index, alone, fresh[:1])
    assert torch.equal(together[:1], alone)


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_format_of_the_latent_stays(which, dtype):
    noisy, noise, fresh = (latent.to(dtype) for latent in latents(3))
    found = solvers(5)[which].advance(noise, 0, noisy, fresh)
    assert (found.noisy.dtype, found.clean.dtype) == (dtype, dtype)


def test_with_even_spacing_the_fine_texture_stays_flatter(monkeypatch):
    monkeypatch.setitem(globals(), "VARIANCE", 0.01)
    noisy = torch.randn(1, 1, 60, 60, generator=torch.Generator().manual_seed(3))
    even, quadratic = (float(run(DDIMSolver(KEPT, 50, power=power), noisy).std()) for power in (1, 2))
    assert even < 0.7 * 0.1 < 0.8 * 0.1 < quadratic < 0.1
