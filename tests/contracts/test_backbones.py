"""What every backbone keeps. To add one, write a line in `WRITERS`: a function that writes a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from blemish.backbones import TEMPLATES, LatentBackbone, Scene, open_backbone
from blemish.backbones.protocol import Draw
from blemish.randomness import generator
from tiny_backbones import write_embedded, write_ldm, write_stable

WRITERS: dict[str, Callable[[Path], Path]] = {
    "embedded": write_embedded,
    "ldm": write_ldm,
    "stable": write_stable,
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=sorted(WRITERS))
def folder(request, tmp_path_factory) -> Path:
    return WRITERS[request.param](tmp_path_factory.mktemp("backbone") / request.param)


@pytest.fixture(scope="module")
def backbone(folder) -> LatentBackbone:
    return open_backbone(str(folder), device=CPU, dtype=torch.float32)


def pictures(backbone: LatentBackbone, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, backbone.size, backbone.size, generator=generator(0, "pictures"))


def noise(seed: int, count: int = 2) -> Draw:
    """Give the noise of a stream, of whatever shape is asked for."""
    return lambda shape: torch.randn(count, *shape, generator=generator(seed))


def latents(backbone: LatentBackbone, count: int = 2) -> torch.Tensor:
    side = backbone.size // backbone.stride
    return torch.randn(count, backbone.channels, side, side, generator=generator(0, "latents"))


def learned(backbone: LatentBackbone, count: int = 2, size: int = 3) -> torch.Tensor:
    return torch.randn(count, size, backbone.token_width, generator=generator(0, "tokens"))


def scene(backbone: LatentBackbone, count: int = 2) -> Scene:
    clean = latents(backbone, count).flip(0)
    return Scene(clean, (clean[:, :1] > 0).float())


def steps(backbone: LatentBackbone) -> torch.Tensor:
    return torch.tensor([len(backbone.kept) // 4, len(backbone.kept) // 2])


def test_kept_falls_from_nearly_all_to_little(backbone):
    assert backbone.kept.dtype == torch.float64
    assert torch.all(backbone.kept.diff() < 0)
    assert 0.99 < backbone.kept[0] < 1
    assert 0 <= backbone.kept[-1] < 0.05


def test_a_picture_becomes_a_latent_a_stride_smaller_and_comes_back_in_range(backbone):
    latent = backbone.encode(pictures(backbone))
    assert latent.shape == latents(backbone).shape
    assert latent.dtype == torch.float32
    picture = backbone.decode(10 * latent)
    assert picture.shape == pictures(backbone).shape
    assert picture.dtype == torch.float32
    assert picture.min() >= 0
    assert picture.max() <= 1


def test_encoding_is_a_function_of_the_picture_and_the_noise(backbone):
    image = pictures(backbone)
    assert torch.equal(backbone.encode(image), backbone.encode(image))
    first = backbone.encode(image, noise(3))
    assert torch.equal(first, backbone.encode(image, noise(3)))


def test_every_layer_of_the_network_waits_and_learns_nothing(backbone):
    network = backbone.attention_modules()
    assert not any(module.training for module in network.modules())
    assert not any(weights.requires_grad for weights in network.parameters())


def test_the_learned_positions_are_as_many_as_the_learned_tokens(backbone):
    for prompt in TEMPLATES:
        context = backbone.context(learned(backbone, 2, 3), 2, prompt)
        positions = range(context.tokens.shape[1])[context.learned]
        assert len(positions) == 3


def test_the_null_context_has_no_learned_position_and_one_row_for_each_picture(backbone):
    null, full = backbone.context(None, 3), backbone.context(learned(backbone, 3), 3)
    assert null.tokens.shape[::2] == full.tokens.shape[::2]
    assert not range(null.tokens.shape[1])[null.learned]


def test_tokens_of_one_row_serve_all_pictures(backbone):
    tokens = learned(backbone, 1)
    shared = backbone.context(tokens, 3)
    apart = backbone.context(tokens.expand(3, -1, -1), 3)
    assert shared.learned == apart.learned
    torch.testing.assert_close(shared.tokens, apart.tokens)


def test_a_word_is_the_same_finite_vector_each_time(backbone):
    vector = backbone.word("scratch")
    assert vector.shape == (backbone.token_width,)
    assert vector.isfinite().all()
    assert torch.equal(vector, backbone.word("scratch"))


def test_the_predicted_noise_of_a_picture_does_not_depend_on_its_neighbours(backbone):
    noisy, step, where = latents(backbone), steps(backbone), scene(backbone)
    tokens = learned(backbone)
    together = backbone.predict_noise(noisy, step, backbone.context(tokens, 2), where)
    assert together.shape == noisy.shape
    assert together.dtype == torch.float32
    for row in range(2):
        one = slice(row, row + 1)
        alone = backbone.predict_noise(
            noisy[one], step[one], backbone.context(tokens[one], 1), Scene(*(x[one] for x in where))
        )
        torch.testing.assert_close(together[one], alone, rtol=1e-4, atol=1e-5)


def test_the_predicted_noise_heeds_the_step_and_the_learned_tokens(backbone):
    noisy, step, where = latents(backbone), steps(backbone), scene(backbone)
    context = backbone.context(learned(backbone), 2)
    usual = backbone.predict_noise(noisy, step, context, where)
    assert not torch.allclose(usual, backbone.predict_noise(noisy, step + 1, context, where))
    other = backbone.context(learned(backbone).flip(0), 2)
    assert not torch.allclose(usual, backbone.predict_noise(noisy, step, other, where))
    assert not torch.allclose(
        usual, backbone.predict_noise(noisy, step, backbone.context(None, 2), where)
    )


def test_the_gradient_reaches_every_learned_token_and_no_weight(backbone):
    tokens = learned(backbone).requires_grad_()
    context = backbone.context(tokens, 2)
    backbone.predict_noise(
        latents(backbone), steps(backbone), context, scene(backbone)
    ).sum().backward()
    assert (tokens.grad.abs().sum(dim=-1) > 0).all()
    assert all(weights.grad is None for weights in backbone.attention_modules().parameters())


def test_in_bfloat16_it_says_nearly_the_same_in_float32(folder, backbone):
    small = open_backbone(str(folder), device=CPU, dtype=torch.bfloat16)
    noisy, step, where = latents(backbone), steps(backbone), scene(backbone)
    found, expected = (
        b.predict_noise(noisy, step, b.context(learned(b), 2), where) for b in (small, backbone)
    )
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert torch.nn.functional.cosine_similarity(found.flatten(), expected.flatten(), dim=0) > 0.99
    latent = small.encode(pictures(backbone), noise(0))
    assert latent.dtype == small.decode(latent).dtype == torch.float32


def test_a_mask_that_is_not_empty_paints_a_cell_and_an_empty_one_none(backbone):
    mask = torch.zeros(3, 1, backbone.size, backbone.size)
    mask[1, 0, 5, 3], mask[2] = 1, 1
    cells = backbone.cells(mask)
    shape = latents(backbone, 3).shape
    assert cells.shape in (shape, (3, 1, *shape[2:]))
    assert set(cells.unique().tolist()) == {0, 1}
    assert [bool(cells[row].any()) for row in range(3)] == [False, True, True]
    assert cells[2].all()


def test_every_step_counts_for_something(backbone):
    weight = backbone.loss_weight(torch.arange(len(backbone.kept)))
    assert weight.shape == (len(backbone.kept), 1, 1, 1)
    assert torch.isfinite(weight).all()
    assert weight.min() > 0
