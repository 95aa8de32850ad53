from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blemish.data import read_dataset
from blemish.detection.evidence import chroma
from blemish.detection.inspector import Inspector, as_float
from blemish.detection.joint import FEATURE_WEIGHT, Objective
from blemish.detection.photos import Photos
from blemish.detection.samples import Batch, Samples

MODES = ("norm_guided", "one_step", "iterative", "autoencoder")
Maker = Callable[..., Inspector]

STEPS = {"steps": 1000, "fine_step": 3, "split": 4, "anchor_step": 6}


def scrambled(module: nn.Module) -> nn.Module:
    """Return the network with no learning weight at zero, as if it had learnt something."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return module.eval()


@pytest.fixture
def make(tiny) -> Maker:
    """Return an inspector of random weights; its diffusion takes few steps."""

    def inspector(segmenter: str = "features", denoiser: dict | None = None, **diffusion: object):
        torch.manual_seed(0)
        config = tiny(
            diffusion=STEPS | diffusion,
            segmenter={"kind": segmenter, "width": 4},
            denoiser=denoiser or {},
        )
        return scrambled(Inspector(config))

    return inspector


@pytest.fixture
def batch(product, tiny) -> Batch:
    """Two normal squares and two with a drawn defect."""
    config = tiny(diffusion=STEPS)
    return Samples(Photos(read_dataset(product).train, config), config)[0][0]


def squares(count: int = 2) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    photo = torch.randint(0, 256, (count, 64, 64, 3), dtype=torch.uint8, generator=rng)
    return photo, torch.randn(count, 2, 3, 64, 64, generator=rng)


class Oracle(nn.Module):
    """A denoiser that knows the clean image: what it says is always right."""

    def __init__(self, inspector: Inspector, clean: Tensor, *, says_noise: bool) -> None:
        super().__init__()
        self.kept, self.clean, self.says_noise = inspector.kept, clean, says_noise
        self.channels = sum(inspector._cells())

    def forward(self, noisy: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        clean = self.clean.repeat(len(noisy) // len(self.clean), 1, 1, 1)
        side = torch.zeros(len(noisy), self.channels, 8, 8)
        if not self.says_noise:
            return clean, side
        kept = self.kept[step].float().view(-1, 1, 1, 1)
        return (noisy - kept.sqrt() * clean) / (1 - kept).sqrt(), side


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prediction", ["noise", "clean"])
@pytest.mark.parametrize("segmenter", ["unet", "features"])
def test_every_mode_gives_finite_logits_and_a_picture_in_range(make, mode, prediction, segmenter):
    inspector = make(segmenter, reconstruction=mode, prediction=prediction)
    photo, noise = squares()
    with torch.inference_mode():
        logits, picture = inspector(photo, noise)
    assert logits.shape == (2, 1, 64, 64)
    assert picture.shape == (2, 3, 64, 64)
    assert logits.isfinite().all()
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prediction", ["noise", "clean"])
def test_with_a_perfect_denoiser_every_mode_reconstructs_the_photo(make, mode, prediction):
    inspector = make(reconstruction=mode, prediction=prediction)
    photo, noise = squares()
    says_noise = prediction == "noise" and mode != "autoencoder"
    inspector.denoiser = Oracle(inspector, as_float(photo), says_noise=says_noise)
    with torch.inference_mode():
        _, picture = inspector(photo, noise)
    torch.testing.assert_close(picture, as_float(photo), rtol=0, atol=1e-4)


def test_a_colour_that_the_normal_look_has_not_reaches_the_verdict(make):
    inspector, (photo, noise) = make(), squares(1)
    with torch.inference_mode():
        opinion = inspector.opinion(photo, noise)
        expected = chroma(as_float(photo) - opinion.reconstruction)
        assert torch.equal(opinion.chroma, expected)
        before, _ = inspector(photo, noise)
        inspector.spread.fill_(float(expected.square().mean().sqrt()))
        inspector.stain.fill_(0.5)
        after, _ = inspector(photo, noise)
    assert (after >= before).all()
    assert (after - before).max() > 1
    assert make(segmenter="unet").opinion(photo, noise).chroma is None


def test_without_guidance_the_guided_reconstruction_is_the_one_step_one(make):
    photo, noise = squares()
    with torch.inference_mode():
        _, unguided = make(guidance=0.0)(photo, noise)
        _, one_step = make(reconstruction="one_step")(photo, noise)
    torch.testing.assert_close(unguided, one_step, rtol=0, atol=1e-5)


def test_the_guided_reconstruction_lies_between_its_two_guesses(make):
    inspector = make(fine_step=200, split=300, anchor_step=400)
    photo, noise = squares()
    steps = torch.tensor([200, 200]), torch.tensor([400, 400])
    with torch.inference_mode():
        fine, anchor = inspector.guess(as_float(photo), noise, *steps)
        found = inspector.guide([fine, anchor])
    share = 1 - 0.656
    expected = (1 - share) * fine.clean + share * anchor.clean.clamp(0, 1)
    torch.testing.assert_close(found.image, expected.clamp(0, 1), rtol=0, atol=2e-3)
    for ours, near, far in zip(found.features, fine.features, anchor.features, strict=True):
        torch.testing.assert_close(ours, (1 - share) * near + share * far, rtol=0, atol=2e-3)


def test_the_iterative_mode_walks_from_the_anchor_step_to_step_zero(make):
    inspector = make(reconstruction="iterative")
    visited = []
    inspector.denoiser.register_forward_pre_hook(lambda _, given: visited.append(int(given[1][0])))
    with torch.inference_mode():
        inspector(*squares(1))
    assert visited == [6, 5, 4, 3, 2, 1, 0]
    visited.clear()
    with torch.inference_mode():
        quick = inspector.opinion(*squares(1), quick=True)
        one_step = make(reconstruction="one_step").opinion(*squares(1))
    assert visited == [inspector.diffusion.fine_step]
    torch.testing.assert_close(quick, one_step)


@pytest.mark.parametrize("mode", MODES)
def test_a_verdict_does_not_depend_on_the_neighbours_in_the_batch(make, mode):
    inspector = make(reconstruction=mode)
    photo, noise = squares(3)
    with torch.inference_mode():
        together, _ = inspector(photo, noise)
        alone, _ = inspector(photo[1:2], noise[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("patch", [1, 2, 4, 8, 16])
def test_expected_features_lie_on_the_grids_of_the_photos_own_features(make, patch):
    inspector = make(denoiser={"patch": patch, "width": 8})
    photo, noise = squares(1)
    step = torch.tensor([3])
    with torch.inference_mode():
        guess = inspector.guess(as_float(photo), noise, step, step)[0]
        features = inspector.features(as_float(photo))[1:]
    assert [f.shape for f in guess.features] == [f.shape for f in features]


def test_fresh_inspectors_of_one_seed_are_equal_whatever_was_drawn_before(tiny):
    photos = squares(3)[0].numpy()
    one = Inspector.fresh(tiny(), photos, range(3)).state_dict()
    torch.rand(7)
    other = Inspector.fresh(tiny(), photos, range(3)).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    seeded = Inspector.fresh(tiny(training={"seed": 1}), photos, range(3)).state_dict()
    assert any(not torch.equal(one[name], seeded[name]) for name in one)


def test_drawing_fresh_weights_leaves_the_global_stream_alone(tiny):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Inspector.fresh(tiny(), squares(3)[0].numpy(), range(3))
    assert torch.equal(torch.rand(3), expected)


def objective(tiny, *, detach: bool, **diffusion: object) -> Objective:
    torch.manual_seed(0)
    config = tiny(diffusion=STEPS | diffusion, segmenter={"width": 4}, training={"detach": detach})
    return Objective(config, scrambled(Inspector(config)), torch.float32)


def only_defects(batch: Batch) -> Batch:
    return Batch(**{field.name: getattr(batch, field.name)[2:] for field in fields(batch)})


def reached(module: nn.Module) -> bool:
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return any(float(gradient.abs().max()) > 0 for gradient in gradients)


@pytest.mark.parametrize("detach", [False, True])
def test_the_segmentation_loss_reaches_the_denoiser_unless_it_is_detached(tiny, batch, detach):
    found = objective(tiny, detach=detach)
    losses = found(only_defects(batch))
    assert losses["noise"].item() == losses["features"].item() == 0
    losses["loss"].backward()
    assert reached(found.inspector.segmenter)
    assert reached(found.inspector.denoiser) == (not detach)


def test_detached_the_denoiser_still_learns_from_the_normal_images(tiny, batch):
    found = objective(tiny, detach=True)
    found(batch)["loss"].backward()
    assert reached(found.inspector.denoiser)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prediction", ["noise", "clean"])
def test_detaching_changes_gradients_and_no_loss(tiny, batch, mode, prediction):
    joint, detached = (
        objective(tiny, detach=d, reconstruction=mode, prediction=prediction)(batch)
        for d in (False, True)
    )
    for name, value in joint.items():
        torch.testing.assert_close(detached[name], value, rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_sum_of_its_parts_with_their_weights(tiny, batch):
    losses = objective(tiny, detach=False)(batch)
    expected = losses["noise"] + FEATURE_WEIGHT * losses["features"] + losses["mask"]
    torch.testing.assert_close(losses["loss"], expected)


@pytest.mark.parametrize("prediction", ["noise", "clean"])
def test_a_perfect_denoiser_has_no_noise_loss(tiny, batch, prediction):
    found = objective(tiny, detach=False, prediction=prediction)
    inspector = found.inspector
    inspector.denoiser = Oracle(inspector, as_float(batch.photo), says_noise=prediction == "noise")
    assert found(batch)["noise"].item() == pytest.approx(0, abs=1e-6)


def test_the_autoencoder_learns_the_photo_itself_and_sees_no_noise(tiny, batch):
    found = objective(tiny, detach=False, reconstruction="autoencoder", prediction="noise")
    inspector, seen = found.inspector, []
    inspector.denoiser = Oracle(inspector, as_float(batch.photo), says_noise=False)
    inspector.denoiser.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    assert found(batch)["noise"].item() == 0
    assert torch.equal(seen[0], as_float(batch.photo))


def test_pictures_become_numbers_between_zero_and_one():
    photo = torch.from_numpy(np.array([[[[0, 51, 255]]]], np.uint8))
    torch.testing.assert_close(as_float(photo).flatten(), torch.tensor([0, 0.2, 1]))
