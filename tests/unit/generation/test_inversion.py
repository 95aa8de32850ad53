from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from blemish.backbones import TEMPLATES, Context, Scene
from blemish.diffusion import implied_noise, kept_at, linear_kept, to_latent
from blemish.errors import ConfigError
from blemish.generation.embedding import Embedding
from blemish.generation.inversion import (
    Inversion,
    InversionSettings,
    inversion_loss,
    masked_noise_loss,
)
from blemish.records import Record, Sample
from blemish.training import Interrupted, Plan, Run

SIZE, STRIDE, CHANNELS = 16, 4, 48
WIDTH = CHANNELS


class ToyNetwork(nn.Module):
    """Guesses the clean cell from what is known of the scene and one look at the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.here = nn.Conv2d(CHANNELS + 1, CHANNELS, 1)
        self.query = nn.Conv2d(CHANNELS, WIDTH, 1)
        self.value = nn.Linear(WIDTH, CHANNELS)

    def forward(self, noisy: Tensor, tokens: Tensor, scene: Scene) -> Tensor:
        found = F.scaled_dot_product_attention(
            self.query(noisy).flatten(2).mT, tokens, self.value(tokens)
        )
        return self.here(torch.cat(scene, 1)) + found.mT.unflatten(2, noisy.shape[-2:])


class ToyBackbone:
    """A latent backbone that loses nothing and knows nothing: its latents are patches of pixels."""

    size, stride, channels, token_width = SIZE, STRIDE, CHANNELS, WIDTH

    def __init__(self) -> None:
        self.kept = linear_kept(100)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = ToyNetwork()
        self.prompts: list[str] = []
        self.scenes: list[Scene | None] = []

    def encode(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        del generator
        return F.pixel_unshuffle(2 * image - 1, self.stride)

    def decode(self, latent: Tensor) -> Tensor:
        return (F.pixel_shuffle(latent, self.stride) / 2 + 0.5).clamp(0, 1)

    def cells(self, mask: Tensor) -> Tensor:
        return to_latent(mask, self.stride)

    def loss_weight(self, step: Tensor) -> Tensor:
        kept = kept_at(self.kept, step)
        return (1 - kept) / kept

    def word(self, text: str) -> Tensor:
        return torch.full((self.token_width,), float(len(text)))

    def context(self, tokens: Tensor | None, count: int, prompt: str = TEMPLATES[0]) -> Context:
        self.prompts.append(prompt)
        tokens = torch.zeros(count, 1, self.token_width) if tokens is None else tokens
        return Context(tokens, slice(0, tokens.shape[1]))

    def predict_noise(
        self, noisy: Tensor, step: Tensor, context: Context, scene: Scene | None = None
    ) -> Tensor:
        self.scenes.append(scene)
        guess = self.network(noisy, context.tokens, scene or Scene(noisy * 0, noisy[:, :1] * 0 + 1))
        return implied_noise(noisy, guess, kept_at(self.kept, step))

    def attention_modules(self) -> nn.Module:
        return self.network


def sample(label: str, number: int) -> Sample:
    rng = np.random.default_rng(number)
    mask = np.zeros((24, 30), bool)
    mask[6 + number : 14, 8:19] = True
    image = rng.integers(0, 40, (24, 30, 3), np.uint8)
    image[mask] = (250, 30, 30) if label == "burn" else (30, 30, 250)
    return Sample(image, mask, Record(Path(f"{label}/{number}.png"), label))


SAMPLES = [sample(label, number) for label in ("burn", "stain") for number in range(2)]


@pytest.fixture
def backbone() -> ToyBackbone:
    return ToyBackbone()


def embedding(width: int = WIDTH) -> Embedding:
    shape = {"anomaly_tokens": 2, "spatial_tokens": 2, "mask_tokens": 2}
    return Embedding.fresh(["burn", "stain"], width, **shape)


def inversion(backbone: ToyBackbone, **options) -> Inversion:
    settings = InversionSettings(**{"precision": "fp32", **options})
    return Inversion(backbone, embedding(), SAMPLES, settings)


def batch_of(task: Inversion, iteration: int = 0):
    return next(iter(task.batches(iteration, 0, 1)))[0]


def tensors(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    predicted, noise = torch.randn(2, 3, 4, 6, 5, generator=rng)
    mask = torch.zeros(3, 1, 6, 5)
    mask[0, 0, 2, 3] = 1
    mask[1, 0, 1:5, 1:4] = 1
    return predicted, noise, mask


def test_the_masked_loss_is_the_mean_over_defects_of_the_mean_over_their_cells():
    predicted, noise, mask = tensors()
    by_hand = []
    for index in (0, 1):
        cells = mask[index, 0].nonzero().tolist()
        errors = [(predicted[index, :, r, c] - noise[index, :, r, c]) ** 2 for r, c in cells]
        by_hand.append(torch.stack(errors).mean())
    torch.testing.assert_close(masked_noise_loss(predicted, noise, mask), sum(by_hand) / 2)


def test_a_small_defect_weighs_as_much_as_a_large_one():
    noise = torch.zeros(2, 4, 6, 5)
    predicted = torch.ones(2, 4, 6, 5)
    mask = tensors()[2][:2]
    for index in (0, 1):
        wrong = predicted.clone()
        wrong[index] = 0
        torch.testing.assert_close(masked_noise_loss(wrong, noise, mask), torch.tensor(0.5))


def test_the_losses_of_images_are_weighed_by_their_steps():
    predicted, noise, mask = tensors()
    weight = torch.tensor([2.0, 0.5, 3.0]).view(-1, 1, 1, 1)
    rows = [slice(i, i + 1) for i in range(3)]
    masked = [masked_noise_loss(predicted[i], noise[i], mask[i]) for i in rows]
    plain = [inversion_loss(predicted[i], noise[i]) for i in rows]
    found = masked_noise_loss(predicted, noise, mask, weight), inversion_loss(predicted, noise, weight)
    torch.testing.assert_close(found[0], (2 * masked[0] + 0.5 * masked[1]) / 2)
    torch.testing.assert_close(found[1], (2 * plain[0] + 0.5 * plain[1] + 3 * plain[2]) / 3)


def test_a_mask_to_the_pixel_counts_only_the_channels_that_it_covers():
    predicted, noise, _ = tensors()
    mask = torch.zeros(3, 4, 6, 5)
    mask[0, 1, 2, 3] = mask[0, 3, 2, 3] = 1
    errors = (predicted - noise)[0, :, 2, 3].square()
    torch.testing.assert_close(masked_noise_loss(predicted, noise, mask), (errors[1] + errors[3]) / 2)


def test_what_is_predicted_outside_the_defect_makes_no_difference():
    predicted, noise, mask = tensors()
    predicted.requires_grad_()
    masked_noise_loss(predicted, noise, mask).backward()
    inside = mask.expand_as(predicted) > 0
    assert predicted.grad[~inside].abs().max() == 0
    assert (predicted.grad[inside] != 0).all()


def test_the_masked_loss_is_zero_and_has_a_gradient_where_no_image_has_a_defect():
    predicted, noise, mask = tensors()
    predicted.requires_grad_()
    loss = masked_noise_loss(predicted, noise, 0 * mask)
    loss.backward()
    assert loss == 0
    assert predicted.grad.abs().max() == 0


def test_under_a_full_mask_both_losses_are_the_mean_squared_error():
    predicted, noise, mask = tensors()
    expected = F.mse_loss(predicted, noise)
    torch.testing.assert_close(masked_noise_loss(predicted, noise, torch.ones_like(mask)), expected)
    torch.testing.assert_close(inversion_loss(predicted, noise), expected)


def test_the_loss_of_the_task_is_the_masked_error_of_the_backbone_under_the_learned_tokens(backbone):
    task = inversion(backbone)
    batch = batch_of(task)
    image = batch.image.permute(0, 3, 1, 2) / 255
    clean, noise = backbone.encode(image), batch.noise((CHANNELS, 4, 4))
    kept = backbone.kept[batch.step].float().view(-1, 1, 1, 1)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    cells = to_latent(batch.mask.float(), STRIDE)
    tokens = task.embedding(batch.types, batch.mask.float())
    hidden = Scene(torch.where(cells > 0, 0, clean), cells)
    guess = backbone.network(noisy, tokens, hidden)
    predicted = (noisy - kept.sqrt() * guess) / (1 - kept).sqrt()
    expected = masked_noise_loss(predicted, noise, cells, (1 - kept) / kept)
    torch.testing.assert_close(task.module(batch)["loss"], expected)


def test_the_backbone_cannot_see_the_defect_in_its_scene(backbone):
    task = inversion(backbone)
    task.module(batch_of(task))
    (scene,) = backbone.scenes
    assert scene.mask.any()
    assert (scene.clean * scene.mask).abs().max() == 0
    assert (scene.clean * (1 - scene.mask)).abs().max() > 0


def test_without_the_mask_the_whole_picture_counts(backbone):
    masked, plain = inversion(backbone), inversion(backbone, masked=False)
    batch = batch_of(masked)
    with torch.no_grad():
        whole = plain.module(batch)["loss"]
        clean, cells = plain.module.latents(batch)
        noise = batch.noise(clean.shape[1:])
        predicted = plain.module.predict(batch, clean, cells, noise, batch.step)
    errors = backbone.loss_weight(batch.step) * (predicted - noise).square()
    torch.testing.assert_close(whole, errors.mean())
    assert not torch.isclose(whole, masked.module(batch)["loss"])


def test_masks_are_learned_without_a_scene_by_tokens_of_their_own(backbone):
    task = inversion(backbone, subject="masks")
    task.module(batch_of(task))["loss"].backward()
    assert backbone.scenes == [None]
    assert task.embedding.mask.grad.abs().max() > 0
    assert task.embedding.anomaly.grad is None
    assert all(p.grad is None for p in task.embedding.encoder.parameters())


def test_the_prompt_of_the_batch_is_read(backbone):
    task = inversion(backbone)
    batches = [next(iter(task.batches(i, 0, 1)))[0] for i in range(5)]
    for batch in batches:
        task.module(batch)
    assert backbone.prompts == [batch.prompt for batch in batches]


def test_only_the_embedding_learns_while_the_backbone_is_frozen(backbone):
    task = inversion(backbone)
    task.module(batch_of(task))["loss"].backward()
    assert task.embedding.anomaly.grad.abs().max() > 0
    assert all(p.grad is not None for p in task.embedding.encoder.parameters())
    assert all(p.grad is None for p in backbone.network.parameters())
    assert not any("network" in name for name in task.module.state_dict())


def test_each_part_learns_at_its_own_rate(backbone):
    rates = {"embedding_lr": 0.3, "encoder_lr": 0.2, "network_lr": 0.1}
    task = inversion(backbone, **rates)
    groups = task.parameter_groups()
    assert [group["lr"] for group in groups] == [0.3, 0.2, 0.1]
    assert groups[0]["params"] == [task.embedding.anomaly]
    assert groups[0]["weight_decay"] == 0
    assert len(groups[1]["params"]) == len(list(task.embedding.encoder.parameters()))
    assert len(groups[2]["params"]) == len(list(backbone.network.parameters()))
    learning = {id(p) for p in task.module.parameters() if p.requires_grad}
    assert learning == {id(p) for group in groups for p in group["params"]}


def test_masks_move_only_their_tokens(backbone):
    (group,) = inversion(backbone, subject="masks").parameter_groups()
    assert [p.shape for p in group["params"]] == [(2, 2, WIDTH)]


def test_micro_batches_of_all_processes_are_the_whole_batch(backbone):
    (whole,) = next(iter(inversion(backbone, batch=4).batches(7, 0, 1)))
    task = inversion(backbone, batch=4, accumulation=2)
    parts = [part for rank in (0, 1) for part in next(iter(task.batches(7, rank, 2)))]
    assert sorted(p.streams[0] for p in parts) == sorted(whole.streams)
    losses = [task.module(part)["loss"] for part in parts]
    torch.testing.assert_close(torch.stack(losses).mean(), task.module(whole)["loss"])


def test_a_batch_that_cannot_be_shared_is_refused(backbone):
    with pytest.raises(ConfigError, match="cannot be shared evenly"):
        inversion(backbone, batch=3).batches(0, 0, 2)


def test_each_types_tokens_learn_its_colour_and_the_frozen_network_stays_as_it_was(backbone, tmp_path):
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    task = inversion(backbone, embedding_lr=0.1)
    start = task.validate()["loss"]
    outcome = Run(task, Plan(iterations=80, validations=1, ema=0.9), tmp_path, cpu=True).fit()
    learned = task.settle(outcome.weights)
    assert task.validate()["loss"] < 0.6 * start
    assert task.validate()["objective"] == -task.validate()["loss"]
    assert learned is task.embedding
    mask = torch.ones(1, 1, SIZE, SIZE)
    nothing = Scene(torch.zeros(1, CHANNELS, 4, 4), torch.ones(1, 1, 4, 4))
    with torch.no_grad():
        guesses = [backbone.network(nothing.clean, learned([t], mask), nothing) for t in learned.types]
    burn, stain = (backbone.decode(guess).mean((0, 2, 3)) for guess in guesses)
    assert burn[0] > 0.2 + burn[2]
    assert stain[2] > 0.2 + stain[0]
    assert all(
        torch.equal(value, before[name]) for name, value in backbone.network.state_dict().items()
    )


def test_an_adapted_network_ends_with_its_learned_weights(backbone, tmp_path):
    before = backbone.network.here.weight.detach().clone()
    task = inversion(backbone, network_lr=0.01)
    outcome = Run(task, Plan(iterations=4, validations=1), tmp_path, cpu=True).fit()
    task.settle(outcome.weights)
    assert torch.equal(backbone.network.here.weight, outcome.weights["network.here.weight"])
    assert not torch.equal(backbone.network.here.weight, before)


def test_an_interrupted_run_ends_with_the_same_tokens(backbone, tmp_path):
    plan = Plan(iterations=6, validations=1)
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = Run(inversion(backbone), plan, tmp_path / "whole", cpu=True).fit()
    task = inversion(backbone)
    run = Run(task, plan, tmp_path / "cut", cpu=True)
    stream = task.batches(0, 0, 1)

    def cut(*_: object):
        yield from itertools.islice(stream, 3)
        run._stop_requested = True
        yield from stream

    task.batches = cut
    with pytest.raises(Interrupted):
        run.fit()
    resumed = Run(inversion(backbone), plan, tmp_path / "cut", cpu=True).fit(resume=True)
    assert whole.weights.keys() == resumed.weights.keys()
    assert all(torch.equal(value, resumed.weights[name]) for name, value in whole.weights.items())


def test_the_sheet_shows_photo_mask_and_guesses_and_only_the_mask_is_painted(backbone, tmp_path):
    inversion(backbone).sheet(tmp_path / "sheet.png")
    assert np.asarray(Image.open(tmp_path / "sheet.png")).shape[1] == 8 + 5 * (SIZE + 8)


def test_a_type_that_the_embedding_does_not_know_is_refused(backbone):
    with pytest.raises(ConfigError, match="dent"):
        Inversion(backbone, embedding(), [*SAMPLES, sample("dent", 0)])


def test_an_embedding_for_another_backbone_is_refused(backbone):
    with pytest.raises(ConfigError, match=f"32 wide, the backbone reads tokens of {WIDTH}"):
        Inversion(backbone, embedding(32), SAMPLES)


def test_a_network_in_half_precision_cannot_be_adapted(backbone):
    backbone.network.to(torch.bfloat16)
    with pytest.raises(ConfigError, match=r"cannot learn in torch\.bfloat16"):
        inversion(backbone, network_lr=1e-5)
    inversion(backbone)
